/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "change.h"

#include <errno.h>

#include "output.h"

static int request(sd_bus *bus, const Arguments *a, const Change *c, const char *method, const char *digest, sd_bus_message **ret,
                   Error **e) {
        sd_bus_message *m = NULL;
        int flag = c->flag;

        int r = bus_message(bus, method, &m, e);
        if (r < 0 || (r = bus_append_strings(m, c->addresses, c->n_addresses, e)) < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', c->guest);
        if (r >= 0 && c->accepts)
                r = bus_append_strings(m, a->accept, a->n_accept, e);
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'b', &flag);
        if (r >= 0 && digest)
                r = sd_bus_message_append_basic(m, 's', digest);
        if (r < 0)
                return error_set(e, -r, "the request cannot be built: %s", strerror(-r));
        *ret = m;
        return 0;
}

/* A person at a terminal sees the plan and is asked; elsewhere nothing is on standard output until it is done. */
static bool is_asked(const Arguments *a) {
        return !a->yes && !a->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static bool confirmed(void) {
        char answer[16];

        printf("Go on? [y/N] ");
        (void) fflush(stdout);
        return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void print_done(const json_t *plan) {
        const char *kind = output_text(plan, "kind"), *guest = output_text(plan, "guest");
        size_t i;
        json_t *a;

        json_array_foreach(json_object_get(plan, "controllers"), i, a)
                printf(str_equal(kind, "assign") ? "%s is assigned to guest %s.\n" : "%s is released from guest %s.\n",
                       json_string_value(a), guest);
}

int change_run(const Arguments *a, const Change *c, Error **e) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *plan = NULL, *result = NULL;
        sd_bus_message *m = NULL;
        bool asked = is_asked(a);

        int r = bus_open(a, &bus, e);
        if (r < 0 || (r = request(bus, a, c, c->plan_method, NULL, &m, e)) < 0 || (r = bus_call_json(bus, m, &plan, e)) < 0)
                return r;
        if (a->dry_run && a->json)
                output_json(plan);
        else if (a->dry_run || asked)
                output_plan(plan);
        if (a->dry_run)
                return EXIT_DONE;
        if (asked && !confirmed())
                return error_set_full(e, ECANCELED, "cancelled", NULL, "nothing was done");
        (void) fflush(stdout);
        if ((r = request(bus, a, c, c->method, json_string_value(json_object_get(plan, "digest")), &m, e)) < 0 ||
            (r = bus_call_job(bus, m, &result, e)) < 0)
                return r;
        if (a->json) {
                output_json(result);
                return EXIT_DONE;
        }
        print_done(plan);
        if (!asked)
                output_notes(plan);
        return EXIT_DONE;
}
