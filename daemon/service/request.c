/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/request.h"

#include <errno.h>

int request_address(const char *text, PciAddress *ret, Error **e) {
        if (text && pci_address_parse(text, ret) >= 0)
                return 0;
        return error_set_full(e, EINVAL, "invalid-address",
                              "write it as `passthructl list` does, for example 0000:03:00.0",
                              "\"%s\" is not a PCI address", text ? text : "");
}

int request_addresses_from_json(const json_t *j, PciAddress **ret, size_t *ret_n, Error **e) {
        _cleanup_free_ PciAddress *addresses = NULL;
        size_t n = json_array_size(j);

        addresses = calloc(n + 1, sizeof *addresses);
        if (!addresses)
                return error_oom(e);
        for (size_t i = 0; i < n; i++) {
                int r = request_address(json_string_value(json_array_get(j, i)), &addresses[i], e);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(addresses);
        *ret_n = n;
        return 0;
}

json_t *request_addresses_to_json(const PciAddress *a, size_t n) {
        json_t *j = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(j, json_string(PCI_ADDRESS_STR(&a[i])));
        return j;
}

static int request_malformed(int r, Error **e) {
        return error_set_full(e, r < 0 ? -r : EBADMSG, "invalid-argument", NULL,
                              "the arguments of the call cannot be read");
}

/* Strings come back in messages, in the log and in the question for a password: no line breaks, no control characters
 * and none that change the direction of what follows, with which a caller could make these say something else. */
static bool is_plain(const char *s) {
        for (const unsigned char *c = (const unsigned char *) s; *c; c++) {
                if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
                        return false;
                if (*c != 0xe2) /* in what follows: U+200E, 200F, 2028 to 202E, 2066 to 2069 */
                        continue;
                if (c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)))
                        return false;
                if (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9)
                        return false;
        }
        return true;
}

static int request_check_text(const char *what, const char *s, Error **e) {
        if (strlen(s) > REQUEST_STRING_MAX)
                return error_set_full(e, E2BIG, "invalid-argument", NULL, "%s is longer than %d bytes", what,
                                      REQUEST_STRING_MAX);
        if (!is_plain(s))
                return error_set_full(e, EINVAL, "invalid-argument", NULL, "%s has control characters in it", what);
        return 0;
}

int request_read_string(sd_bus_message *m, const char *what, const char **ret, Error **e) {
        const char *s = NULL;

        int r = sd_bus_message_read(m, "s", &s);
        if (r <= 0)
                return request_malformed(r, e);
        r = request_check_text(what, s, e);
        if (r < 0)
                return r;
        *ret = s;
        return 0;
}

static int request_read_bool(sd_bus_message *m, bool *ret, Error **e) {
        int b = 0;

        int r = sd_bus_message_read(m, "b", &b);
        if (r <= 0)
                return request_malformed(r, e);
        *ret = b;
        return 0;
}

/* Calls add() with each string of an array. */
static int request_read_array(sd_bus_message *m, const char *what, int (*add)(void *, const char *, size_t, Error **),
                              void *userdata, Error **e) {
        const char *s;

        int r = sd_bus_message_enter_container(m, 'a', "s");
        if (r <= 0)
                return request_malformed(r, e);
        for (size_t i = 0; (r = sd_bus_message_read(m, "s", &s)) > 0; i++) {
                if (i == REQUEST_ITEMS_MAX)
                        return error_set_full(e, E2BIG, "invalid-argument", NULL, "more than %d items in one request",
                                              REQUEST_ITEMS_MAX);
                r = request_check_text(what, s, e);
                if (r >= 0)
                        r = add(userdata, s, i, e);
                if (r < 0)
                        return r;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? request_malformed(r, e) : 0;
}

typedef struct AddressArray {
        PciAddress *items;
        size_t n;
} AddressArray;

static int address_array_add(void *userdata, const char *s, size_t i, Error **e) {
        AddressArray *a = userdata;

        PciAddress *items = reallocarray(a->items, i + 1, sizeof *items);
        if (!items)
                return error_oom(e);
        a->items = items;
        a->n = i + 1;
        return request_address(s, &items[i], e);
}

int request_read_addresses(sd_bus_message *m, PciAddress **ret, size_t *ret_n, Error **e) {
        AddressArray a = {};

        int r = request_read_array(m, "an address", address_array_add, &a, e);
        if (r < 0) {
                free(a.items);
                return r;
        }
        *ret = a.items;
        *ret_n = a.n;
        return 0;
}

static int accept_add(void *userdata, const char *s, size_t i, Error **e) {
        PlanRequest *q = userdata;

        char **items = reallocarray(q->accept, i + 1, sizeof *items);
        if (!items)
                return error_oom(e);
        q->accept = items;
        items[i] = strdup(s);
        if (!items[i])
                return error_oom(e);
        q->n_accept = i + 1;
        return 0;
}

/* What is read is q's to free, also after a failure. */
static int request_fill_plan(sd_bus_message *m, PlanKind kind, PlanRequest *q, Error **e) {
        const char *guest;

        q->kind = kind;
        int r = request_read_addresses(m, &q->controllers, &q->n_controllers, e);
        if (r >= 0)
                r = request_read_string(m, "the guest's name", &guest, e);
        if (r < 0)
                return r;
        q->guest = *guest ? strdup(guest) : NULL;
        if (*guest && !q->guest)
                return error_oom(e);
        if (kind == PLAN_RELEASE)
                return request_read_bool(m, &q->force_unplug, e);
        r = request_read_array(m, "a check's id", accept_add, q, e);
        return r < 0 ? r : request_read_bool(m, &q->no_attach, e);
}

static int request_check_plan(const PlanRequest *q, Error **e) {
        if (q->kind == PLAN_ASSIGN && !q->guest)
                return error_set_full(e, EINVAL, "invalid-argument", "name the guest; `virsh list --all` shows them",
                                      "an assignment needs a guest");
        if (q->kind == PLAN_ASSIGN && q->n_controllers == 0)
                return error_set_full(e, EINVAL, "invalid-argument", "name at least one; `passthructl list` shows them",
                                      "an assignment needs a controller");
        if (!q->guest && q->n_controllers == 0)
                return error_set_full(e, EINVAL, "invalid-argument", "`passthructl list` shows what is assigned",
                                      "a release needs a controller or a guest");
        return 0;
}

int request_read_plan(sd_bus_message *m, PlanKind kind, PlanRequest *ret, Error **e) {
        PlanRequest q = {};

        int r = request_fill_plan(m, kind, &q, e);
        if (r >= 0)
                r = request_check_plan(&q, e);
        if (r < 0) {
                plan_request_clear(&q);
                return r;
        }
        *ret = q;
        return 0;
}

ProbeFlags request_probe_flags(const PlanRequest *q) {
        return PROBE_LIVE | PROBE_GUESTS | (q->kind == PLAN_ASSIGN ? PROBE_EXCLUSIVE : q->force_unplug ? 0 : PROBE_AGENTS);
}
