/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/authorize.h"

#include <errno.h>

#include "service/bus.h"
#include "service/polkit.h"
#include "service/request.h"

/* ---- what a call is about ---- */

static int read_show(sd_bus_message *m, PlanRequest *ret, Error **e) {
        const char *text;

        int r = request_read_string(m, "the address", &text, e);
        if (r < 0)
                return r;
        ret->controllers = calloc(1, sizeof *ret->controllers);
        if (!ret->controllers)
                return error_oom(e);
        ret->n_controllers = 1;
        return request_address(text, ret->controllers, e);
}

static int read_preflight(sd_bus_message *m, PlanRequest *ret, Error **e) {
        const char *guest;

        int r = request_read_addresses(m, &ret->controllers, &ret->n_controllers, e);
        if (r >= 0)
                r = request_read_string(m, "the guest's name", &guest, e);
        if (r < 0)
                return r;
        ret->guest = *guest ? strdup(guest) : NULL;
        return *guest && !ret->guest ? error_oom(e) : 0;
}

static int read_assign(sd_bus_message *m, PlanRequest *ret, Error **e) {
        return request_read_plan(m, PLAN_ASSIGN, ret, e);
}

static int read_release(sd_bus_message *m, PlanRequest *ret, Error **e) {
        return request_read_plan(m, PLAN_RELEASE, ret, e);
}

/* ---- the table ---- */

/* Defined for polkit in rules/org.passthru1.policy. The sentence is for whoever is asked for a password, by what the
 * call names. */
typedef struct Action {
        const char *id;
        const char *none, *controllers, *guest, *both;
        const char *forced; /* added when it is forced */
} Action;

static const Action action_inspect = {
        .id = "org.passthru1.inspect",
        .none = "Authentication is required to look at the storage controllers and guests of this host",
        .controllers = "Authentication is required to look at $(controllers) and what uses it",
        .guest = "Authentication is required to look at guest $(guest) and the storage controllers of this host",
        .both = "Authentication is required to look at $(controllers) and guest $(guest)",
};

static const Action action_assign = {
        .id = "org.passthru1.assign",
        .both = "Authentication is required to take $(controllers) from this host and give it to guest $(guest)",
};

static const Action action_release = {
        .id = "org.passthru1.release",
        .controllers = "Authentication is required to take $(controllers) from its guest and give it to this host",
        .guest = "Authentication is required to take all controllers from guest $(guest) and give them to this host",
        .both = "Authentication is required to take $(controllers) from guest $(guest) and give it to this host",
        .forced = ", even while the guest uses the disks and what it has not written is lost",
};

typedef struct Row {
        const char *interface, *member;
        const Action *action; /* NULL: anyone may, on any object */
        const char *signature;
        int (*read)(sd_bus_message *m, PlanRequest *ret, Error **e); /* NULL: it names nothing */
} Row;

/* What is not in this table is denied, to root too. */
static const Row table[] = {
        { BUS_MANAGER, "List", &action_inspect, "", NULL },
        { BUS_MANAGER, "Show", &action_inspect, "s", read_show },
        { BUS_MANAGER, "Status", &action_inspect, "", NULL },
        { BUS_MANAGER, "Preflight", &action_inspect, "ass", read_preflight },
        { BUS_MANAGER, "PlanAssign", &action_inspect, "assasb", read_assign },
        { BUS_MANAGER, "PlanRelease", &action_inspect, "assb", read_release },
        { BUS_MANAGER, "Assign", &action_assign, "assasbs", read_assign },
        { BUS_MANAGER, "Release", &action_release, "assbs", read_release },
        /* Its handler asks whose job it is. */
        { BUS_JOB, "Cancel", NULL, NULL, NULL },
        /* Properties hold nothing private; there are none to set. */
        { "org.freedesktop.DBus.Properties", "Get", NULL, NULL, NULL },
        { "org.freedesktop.DBus.Properties", "GetAll", NULL, NULL, NULL },
        { "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL, NULL, NULL },
        { "org.freedesktop.DBus.Introspectable", "Introspect", NULL, NULL, NULL },
        { "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, NULL },
        { "org.freedesktop.DBus.Peer", "GetMachineId", NULL, NULL, NULL },
};

static const Row *table_find(const char *interface, const char *member) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (str_equal(table[i].interface, interface) && str_equal(table[i].member, member))
                        return &table[i];
        return NULL;
}

/* ---- the decision ---- */

int authorize_sender_uid(sd_bus_message *m, uid_t *ret) {
        sd_bus_creds *creds = NULL;

        /* From the bus daemon, which has it from the socket: nothing that the sender could change meanwhile. */
        int r = sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, ret);
        sd_bus_creds_unref(creds);
        return r;
}

/* NULL: out of memory. */
static char *action_sentence(const Action *a, const PlanRequest *about) {
        const char *sentence = about->guest ? a->guest : a->none;
        char *text;

        if (about->n_controllers > 0)
                sentence = about->guest ? a->both : a->controllers;
        return asprintf(&text, "%s%s", sentence, about->force_unplug && a->forced ? a->forced : "") < 0 ? NULL : text;
}

/* Malformed calls are refused before anybody is bothered for a password, and before they are kept. */
static int authorize_ask(Manager *manager, sd_bus_message *m, const Row *row, uid_t uid, sd_bus_error *error) {
        _cleanup_(plan_request_clear) PlanRequest about = {};
        _cleanup_error_ Error *e = NULL;

        if (!sd_bus_message_has_signature(m, row->signature))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "the arguments of %s have the types \"%s\", not \"%s\"", row->member,
                                         sd_bus_message_get_signature(m, 1), row->signature);
        if (row->read && row->read(m, &about, &e) < 0)
                return bus_error_set(error, e);
        _cleanup_free_ char *sentence = action_sentence(row->action, &about);
        if (!sentence)
                return -ENOMEM;
        int r = sd_bus_message_rewind(m, 1);
        if (r < 0)
                return r;
        const PolkitQuestion q = {
                .action = row->action->id,
                .sentence = sentence,
                .about = &about,
                .uid = uid,
        };
        r = polkit_ask(manager, m, &q, error);
        return r < 0 ? r : 1;
}

int authorize_filter(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m);
        const Row *row = table_find(interface, member);
        uint8_t type = 0;
        uid_t uid;

        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        if (!row || (row->action && !str_equal(sd_bus_message_get_path(m), BUS_PATH)))
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "permission denied: no call %s.%s is there",
                                         interface ? interface : "(no interface)", member ? member : "?");
        if (!row->action || polkit_take_allowed(userdata, m))
                return 0;
        int r = authorize_sender_uid(m, &uid);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "permission denied: the bus does not say who calls: %s", strerror(-r));
        return uid == 0 ? 0 : authorize_ask(userdata, m, row, uid, error);
}
