/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/polkit.h"

#include <errno.h>

/*
 *   caller        passthrud                                     polkit
 *     | --Assign--> | authorize_filter: polkit_ask                 |
 *     |             |   keeps the message ----CheckAuthorization-> | (asks the person, if need be)
 *     |             | <--------------------------------- answer -- |
 *     |             | on_answer: denied: replies, forgets;
 *     |             |   allowed: puts the message back into the queue
 *     |             | authorize_filter: polkit_take_allowed: on to the handler
 *
 * So the handler runs from its top after the answer, and judges by how things stand then.
 */

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ALLOW_INTERACTION 1u

/* Messages kept, of all callers and of one user. */
#define CHECKS_MAX 64
#define CHECKS_PER_USER 16

/* A person is given time; polkit on its own decides at once. */
#define PERSON_USEC (10 * 60 * 1000000ULL)
#define POLKIT_USEC (30 * 1000000ULL)

#define REMEDY_ROOT "run it as root, with sudo for example"

struct Check {
        Manager *manager;
        Check *next;
        uint64_t id;
        uid_t uid;
        char *what; /* action and objects, for people */
        sd_bus_message *message;
        sd_bus_slot *question; /* NULL when it has been answered */
        sd_bus_track *caller;
        bool allowed; /* and back in the queue */
};

static char *check_cancellation(uint64_t id) {
        char *text;

        return asprintf(&text, "passthrud-%llu", (unsigned long long) id) < 0 ? NULL : text;
}

static void check_cancel(const Check *c) {
        _cleanup_free_ char *cancellation = check_cancellation(c->id);

        if (cancellation)
                (void) sd_bus_call_method_async(c->manager->bus, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                                "CancelCheckAuthorization", NULL, NULL, "s", cancellation);
}

static Check *check_free(Check *c) {
        if (!c)
                return NULL;
        for (Check **p = &c->manager->checks; *p; p = &(*p)->next)
                if (*p == c) {
                        *p = c->next;
                        break;
                }
        if (c->question)
                check_cancel(c);
        sd_bus_slot_unref(c->question);
        sd_bus_track_unref(c->caller);
        sd_bus_message_unref(c->message);
        free(c->what);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(Check *, check_free)

/* ---- the answer ---- */

static int deny(const Check *c, const char *why, const char *remedy, sd_bus_error *error) {
        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "permission denied: %s %s\n%s", c->what, why,
                                 remedy);
}

static int deny_unasked(const Check *c, sd_bus_message *reply, sd_bus_error *error) {
        const sd_bus_error *problem = sd_bus_message_get_error(reply);

        if (sd_bus_error_has_name(problem, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(problem, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return deny(c, "is for root only, as there is no polkit here to ask",
                            REMEDY_ROOT ", or install polkit", error);
        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                 "permission denied: polkit could not be asked for %s: %s\n" REMEDY_ROOT, c->what,
                                 problem && problem->message ? problem->message : "no reason given");
}

/* Somebody who may allow it has to prove who they are, and that did not happen. */
static int deny_challenge(const Check *c, sd_bus_error *error) {
        if (sd_bus_message_get_allow_interactive_authorization(c->message) > 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                         "permission denied: %s needs a password, and no polkit agent is there to ask "
                                         "for it\n" REMEDY_ROOT,
                                         c->what);
        return sd_bus_error_setf(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                 "permission denied: %s needs a password\nrun it on a terminal, or as root", c->what);
}

/* 1 when there is an entry with that key in the array of pairs that comes next. */
static int read_detail(sd_bus_message *reply, const char *wanted) {
        const char *key;
        int r, found = 0;

        r = sd_bus_message_enter_container(reply, 'a', "{ss}");
        while (r >= 0 && (r = sd_bus_message_read(reply, "{ss}", &key, NULL)) > 0)
                found |= str_equal(key, wanted);
        return r < 0 ? r : found;
}

/* 0 when the answer allows it, else negative with error set. */
static int check_judge(const Check *c, sd_bus_message *reply, sd_bus_error *error) {
        int authorized = 0, challenge = 0;

        if (sd_bus_message_is_method_error(reply, NULL))
                return deny_unasked(c, reply, error);
        int r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r > 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r <= 0)
                return deny(c, "got an answer from polkit that cannot be read", REMEDY_ROOT, error);
        if (authorized)
                return 0;
        if (read_detail(reply, "polkit.dismissed") > 0)
                return deny(c, "was not authenticated: the question was dismissed", REMEDY_ROOT, error);
        if (challenge)
                return deny_challenge(c, error);
        return deny(c, "is not allowed to you by polkit",
                    REMEDY_ROOT ", or have an administrator allow it with a polkit rule", error);
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(check_freep) Check *c = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) ret_error;
        /* Also what is answered by our own deadline: there polkit still asks. */
        if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY))
                check_cancel(c);
        c->question = sd_bus_slot_unref(c->question);
        int r = check_judge(c, reply, &error);
        if (r >= 0) {
                r = sd_bus_enqueue_for_read(c->manager->bus, c->message);
                c->allowed = r >= 0;
        }
        if (c->allowed)
                c = NULL;
        else
                (void) sd_bus_reply_method_errno(c->message, r, &error);
        sd_bus_error_free(&error);
        return 0;
}

static int on_caller_gone(sd_bus_track *track, void *userdata) {
        (void) track;
        check_free(userdata);
        return 0;
}

/* ---- the question ---- */

static char *addresses_text(const PlanRequest *q) {
        char *text = calloc(q->n_controllers + 1, PCI_ADDRESS_MAX + sizeof ", "), *end = text;

        for (size_t i = 0; text && i < q->n_controllers; i++)
                end += sprintf(end, "%s%s", i ? ", " : "", PCI_ADDRESS_STR(&q->controllers[i]));
        return text;
}

/* "org.passthru1.assign for 0000:03:00.0 and guest nas" */
static char *what_text(const PolkitQuestion *q, const char *addresses) {
        const char *guest = q->about->guest;
        char *text;

        if (asprintf(&text, "%s%s%s%s%s%s", q->action, *addresses || guest ? " for " : "", addresses,
                     *addresses && guest ? " and " : "", guest ? "guest " : "", guest ? guest : "") < 0)
                return NULL;
        return text;
}

/* "reset-method, twin-device" */
static char *accepted_text(const PlanRequest *q) {
        char *text = NULL;
        size_t size = 0;

        FILE *f = open_memstream(&text, &size);
        for (size_t i = 0; f && i < q->n_accept; i++)
                (void) fprintf(f, "%s%s", i ? ", " : "", q->accept[i]);
        if (f && fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}

static int append_details(sd_bus_message *question, const PolkitQuestion *q, const char *addresses) {
        _cleanup_free_ char *accepted = accepted_text(q->about);

        if (!accepted)
                return -ENOMEM;
        int r = sd_bus_message_open_container(question, 'a', "{ss}");

        if (r >= 0 && *addresses)
                r = sd_bus_message_append(question, "{ss}", "controllers", addresses);
        if (r >= 0 && q->about->guest)
                r = sd_bus_message_append(question, "{ss}", "guest", q->about->guest);
        if (r >= 0 && *accepted)
                r = sd_bus_message_append(question, "{ss}", "accept", accepted);
        if (r >= 0 && q->about->force_unplug)
                r = sd_bus_message_append(question, "{ss}", "force-unplug", "yes");
        if (r >= 0)
                r = sd_bus_message_append(question, "{ss}", "polkit.message", q->sentence);
        return r < 0 ? r : sd_bus_message_close_container(question);
}

static int question_new(const Check *c, const PolkitQuestion *q, const char *addresses, bool interactive,
                        sd_bus_message **ret) {
        _cleanup_free_ char *cancellation = check_cancellation(c->id);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *question = NULL;

        if (!cancellation)
                return -ENOMEM;
        int r = sd_bus_message_new_method_call(c->manager->bus, &question, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                               "CheckAuthorization");
        /* The unique name of a connection is never used again, so nobody can slip into the caller's place. */
        if (r >= 0)
                r = sd_bus_message_append(question, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(c->message), q->action);
        if (r >= 0)
                r = append_details(question, q, addresses);
        if (r >= 0)
                r = sd_bus_message_append(question, "us", interactive ? POLKIT_ALLOW_INTERACTION : 0, cancellation);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(question);
        return 0;
}

static int check_send(Check *c, const PolkitQuestion *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *question = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(c->message) > 0;
        _cleanup_free_ char *addresses = addresses_text(q->about);
        sd_bus *bus = c->manager->bus;

        if (!addresses || !(c->what = what_text(q, addresses)))
                return -ENOMEM;
        int r = sd_bus_track_new(bus, &c->caller, on_caller_gone, c);
        if (r >= 0)
                r = sd_bus_track_add_sender(c->caller, c->message);
        if (r >= 0)
                r = question_new(c, q, addresses, interactive, &question);
        if (r < 0)
                return r;
        return sd_bus_call_async(bus, &c->question, question, on_answer, c, interactive ? PERSON_USEC : POLKIT_USEC);
}

static bool checks_have_room(const Manager *m, uid_t uid) {
        size_t all = 0, own = 0;

        for (const Check *c = m->checks; c; c = c->next) {
                all++;
                own += c->uid == uid;
        }
        return all < CHECKS_MAX && own < CHECKS_PER_USER;
}

int polkit_ask(Manager *m, sd_bus_message *message, const PolkitQuestion *q, sd_bus_error *error) {
        _cleanup_(check_freep) Check *c = NULL;

        if (!checks_have_room(m, q->uid))
                return sd_bus_error_set(error, BUS_NAME ".Error.TooMany",
                                        "too many calls wait for an authorization, no more are taken\n"
                                        "try again when some of them have been answered");
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        *c = (Check){
                .manager = m,
                .next = m->checks,
                .id = ++m->last_check,
                .uid = q->uid,
                .message = sd_bus_message_ref(message),
        };
        m->checks = c;
        int r = check_send(c, q);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "permission denied: polkit could not be asked for %s: %s\n" REMEDY_ROOT,
                                         q->action, strerror(-r));
        TAKE_PTR(c);
        return 0;
}

bool polkit_take_allowed(Manager *m, const sd_bus_message *message) {
        for (Check *c = m->checks; c; c = c->next)
                if (c->allowed && c->message == message) {
                        check_free(c);
                        return true;
                }
        return false;
}

void polkit_clear(Manager *m) {
        while (m->checks)
                check_free(m->checks);
}
