/* SPDX-License-Identifier: GPL-2.0-or-later */
/* org.passthru1.Manager. Every answer comes from a worker; a call is kept until its worker has ended. */
#include <errno.h>

#include "service/authorize.h"
#include "service/bus.h"
#include "service/request.h"

/* ---- calls that a worker answers ---- */

typedef void (*CallAnswer)(const Call *c, json_t *result, json_t *findings);

struct Call {
        Manager *manager;
        Call *next;
        sd_bus_message *message;
        CallAnswer finish; /* adds what the daemon knows */
        uint64_t reading; /* 0: it shows nothing of the host */
};

static Call *call_free(Call *c) {
        if (!c)
                return NULL;
        for (Call **p = &c->manager->calls; *p; p = &(*p)->next)
                if (*p == c) {
                        *p = c->next;
                        break;
                }
        sd_bus_message_unref(c->message);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(Call *, call_free)

void bus_calls_clear(Manager *m) {
        while (m->calls)
                call_free(m->calls);
}

static int reply_json(sd_bus_message *message, const json_t *j) {
        _cleanup_free_ char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);

        return text ? sd_bus_reply_method_return(message, "s", text) : sd_bus_reply_method_errno(message, ENOMEM, NULL);
}

static void call_done(void *userdata, const WorkerOutcome *o) {
        _cleanup_(call_freep) Call *c = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (o->error) {
                (void) bus_error_set(&error, o->error);
                (void) sd_bus_reply_method_error(c->message, &error);
                sd_bus_error_free(&error);
                return;
        }
        c->finish(c, o->result, o->findings);
        (void) reply_json(c->message, o->result);
}

static const WorkerHandler call_handler = { .done = call_done };

/* Takes the reference to request. Returns what a method handler returns. */
static int call_start(Manager *m, sd_bus_message *message, const Verb *v, json_t *request, uint64_t reading,
                      CallAnswer finish, sd_bus_error *error) {
        _cleanup_(call_freep) Call *c = calloc(1, sizeof *c);
        _cleanup_json_ json_t *owned = request;
        _cleanup_error_ Error *e = NULL;
        uid_t uid;

        if (!c || !owned)
                return -ENOMEM;
        int r = authorize_sender_uid(message, &uid);
        if (r < 0)
                return r;
        *c = (Call){ .manager = m, .next = m->calls, .message = sd_bus_message_ref(message), .finish = finish,
                     .reading = reading };
        m->calls = c;
        if (manager_check_room(m, uid, &e) < 0 || worker_start(&m->workers, uid, v, owned, &call_handler, c, &e) < 0)
                return bus_error_set(error, e);
        TAKE_PTR(c);
        return 1;
}

/* ---- looking ---- */

/* Takes the reference to request, to which it adds what every reading needs. */
static int reading_start(Manager *m, sd_bus_message *message, const Verb *v, json_t *request, CallAnswer finish,
                         sd_bus_error *error) {
        _cleanup_json_ json_t *more = request;
        uint64_t number;

        json_t *all = manager_reading(m, &number);
        (void) json_object_update(all, more);
        return call_start(m, message, v, all, number, finish, error);
}

static void finish_list(const Call *c, json_t *result, json_t *findings) {
        (void) findings;
        manager_set_list(c->manager, result, c->reading);
        manager_overlay_list(c->manager, result);
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return reading_start(userdata, message, &verb_list, NULL, finish_list, error);
}

static void finish_status(const Call *c, json_t *result, json_t *findings) {
        (void) findings;
        manager_learn(c->manager, result, c->reading);
        manager_overlay_status(c->manager, result);
}

static int method_status(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return reading_start(userdata, message, &verb_status, NULL, finish_status, error);
}

static void finish_show(const Call *c, json_t *result, json_t *findings) {
        _cleanup_json_ json_t *rows = json_pack("[O]", result);

        (void) findings;
        manager_learn(c->manager, rows, c->reading);
        manager_overlay_list(c->manager, rows);
}

static int method_show(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_error_ Error *e = NULL;
        PciAddress address;
        const char *text;

        if (request_read_string(message, "the address", &text, &e) < 0 || request_address(text, &address, &e) < 0)
                return bus_error_set(error, e);
        return reading_start(userdata, message, &verb_show, json_pack("{s:s}", "address", PCI_ADDRESS_STR(&address)),
                             finish_show, error);
}

/* ---- plans ---- */

static void finish_plan(const Call *c, json_t *result, json_t *findings) {
        (void) c;
        if (findings)
                json_object_set(result, "findings", findings);
}

static int plan_call(Manager *m, sd_bus_message *message, PlanKind kind, sd_bus_error *error) {
        _cleanup_(plan_request_clear) PlanRequest q = {};
        _cleanup_error_ Error *e = NULL;

        /* A plan made in the middle of another change would not hold, and a hung change keeps its reader waiting. */
        if (request_read_plan(message, kind, &q, &e) < 0 || manager_check_change(m, &e) < 0)
                return bus_error_set(error, e);
        return call_start(m, message, &verb_plan, plan_request_to_json(&q), 0, finish_plan, error);
}

static int method_plan_assign(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return plan_call(userdata, message, PLAN_ASSIGN, error);
}

static int method_plan_release(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return plan_call(userdata, message, PLAN_RELEASE, error);
}

/* ---- jobs ---- */

/* Takes the reference to request. */
static int job_call(Manager *m, sd_bus_message *message, uid_t uid, const Verb *v, const char *kind,
                    const PlanRequest *q, json_t *request, sd_bus_error *error) {
        _cleanup_json_ json_t *owned = request;
        _cleanup_error_ Error *e = NULL;
        Job *j = NULL;

        if (!owned)
                return -ENOMEM;
        if (manager_check_room(m, uid, &e) < 0 || (v->changes && manager_check_change(m, &e) < 0) ||
            job_start(m, v, kind, sd_bus_message_get_sender(message), uid, q, owned, &j, &e) < 0)
                return bus_error_set(error, e);
        return sd_bus_reply_method_return(message, "o", j->path);
}

static int method_preflight(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ PciAddress *addresses = NULL;
        _cleanup_error_ Error *e = NULL;
        const char *guest;
        size_t n = 0;
        uid_t uid;

        int r = authorize_sender_uid(message, &uid);
        if (r < 0)
                return r;
        if (request_read_addresses(message, &addresses, &n, &e) < 0 ||
            request_read_string(message, "the guest's name", &guest, &e) < 0)
                return bus_error_set(error, e);
        return job_call(userdata, message, uid, &verb_preflight, "preflight", NULL,
                        json_pack("{s:o, s:s?}", "addresses", request_addresses_to_json(addresses, n), "guest",
                                  *guest ? guest : NULL),
                        error);
}

static int change_call(Manager *m, sd_bus_message *message, PlanKind kind, sd_bus_error *error) {
        _cleanup_(plan_request_clear) PlanRequest q = {};
        _cleanup_error_ Error *e = NULL;
        const char *digest;
        uid_t uid;

        int r = authorize_sender_uid(message, &uid);
        if (r < 0)
                return r;
        if (request_read_plan(message, kind, &q, &e) < 0 || request_read_string(message, "the digest", &digest, &e) < 0)
                return bus_error_set(error, e);
        return job_call(m, message, uid, &verb_apply, plan_kind_to_string(kind), &q,
                        json_pack("{s:o, s:s, s:I}", "request", plan_request_to_json(&q), "digest", digest, "uid",
                                  (json_int_t) uid),
                        error);
}

static int method_assign(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return change_call(userdata, message, PLAN_ASSIGN, error);
}

static int method_release(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return change_call(userdata, message, PLAN_RELEASE, error);
}

/* ---- the interface ---- */

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        (void) bus, (void) path, (void) interface, (void) property, (void) userdata, (void) error;
        return sd_bus_message_append(reply, "s", PASSTHRU_VERSION);
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        (void) bus, (void) path, (void) interface, (void) property, (void) error;
        return sd_bus_message_append(reply, "s", manager_state_to_string(m->state));
}

/* "Unprivileged" is libsystemd's word for "do not decide": authorize.c does, for all of them. */
#define CHECKED SD_BUS_VTABLE_UNPRIVILEGED

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_list, CHECKED),
        SD_BUS_METHOD_WITH_ARGS("Show", SD_BUS_ARGS("s", address), SD_BUS_RESULT("s", json), method_show, CHECKED),
        SD_BUS_METHOD_WITH_ARGS("Status", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_status, CHECKED),
        SD_BUS_METHOD_WITH_ARGS("Preflight", SD_BUS_ARGS("as", addresses, "s", guest), SD_BUS_RESULT("o", job),
                                method_preflight, CHECKED),
        SD_BUS_METHOD_WITH_ARGS("PlanAssign", SD_BUS_ARGS("as", addresses, "s", guest, "as", accept, "b", no_attach),
                                SD_BUS_RESULT("s", json), method_plan_assign, CHECKED),
        SD_BUS_METHOD_WITH_ARGS("PlanRelease", SD_BUS_ARGS("as", addresses, "s", guest, "b", force_unplug),
                                SD_BUS_RESULT("s", json), method_plan_release, CHECKED),
        /* digest is the one in the answer of PlanAssign or PlanRelease: what is done is what was shown. */
        SD_BUS_METHOD_WITH_ARGS("Assign",
                                SD_BUS_ARGS("as", addresses, "s", guest, "as", accept, "b", no_attach, "s", digest),
                                SD_BUS_RESULT("o", job), method_assign, CHECKED),
        SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("as", addresses, "s", guest, "b", force_unplug, "s", digest),
                                SD_BUS_RESULT("o", job), method_release, CHECKED),
        /* Once for each job, to its caller: when it has ended, or is found to hang. */
        SD_BUS_SIGNAL_WITH_ARGS("JobRemoved", SD_BUS_ARGS("t", id, "o", job, "s", result), 0),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int bus_manager_register(Manager *m) {
        return sd_bus_add_object_vtable(m->bus, NULL, BUS_PATH, BUS_MANAGER, manager_vtable, m);
}
