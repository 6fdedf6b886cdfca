/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include "service/authorize.h"
#include "service/bus.h"

/*
 * org.passthru1.Job at /org/passthru1/job/N. Steps name disks and guests, so Text is shown to root and the caller who
 * started the job only, and changes are signalled to that caller, not broadcast.
 */

static Job *job_of(void *userdata) {
        return userdata;
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        (void) bus, (void) path, (void) interface, (void) property, (void) error;
        return sd_bus_message_append(reply, "s", job_state_to_string(job_of(userdata)->state));
}

/* A getter also runs for signals to everyone, in the middle of other calls: only a question of properties shows it. */
static bool job_text_is_for(const Job *j, sd_bus_message *m) {
        const char *member = m ? sd_bus_message_get_member(m) : NULL;
        uid_t uid;

        if (!str_equal(member, "Get") && !str_equal(member, "GetAll") && !str_equal(member, "GetManagedObjects"))
                return false;
        return str_equal(sd_bus_message_get_sender(m), j->owner) || (authorize_sender_uid(m, &uid) >= 0 && uid == 0);
}

static int get_text(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                    void *userdata, sd_bus_error *error) {
        const Job *j = job_of(userdata);

        (void) path, (void) interface, (void) property, (void) error;
        bool show = j->text && job_text_is_for(j, sd_bus_get_current_message(bus));
        return sd_bus_message_append(reply, "s", show ? j->text : "");
}

/* Whoever started it may stop it, and root. A step that has begun is finished, but for the wait for a guest. */
static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Job *j = job_of(userdata);
        uid_t uid;

        if (!str_equal(sd_bus_message_get_sender(m), j->owner) && (authorize_sender_uid(m, &uid) < 0 || uid != 0))
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "permission denied: job %llu is somebody else's",
                                         (unsigned long long) j->id);
        worker_signal(&j->manager->workers, j, SIGTERM);
        return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Cancel", NULL, NULL, method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Id", "t", NULL, offsetof(Job, id), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Kind", "s", NULL, offsetof(Job, kind), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Done", "u", NULL, offsetof(Job, done), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Total", "u", NULL, offsetof(Job, total), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Text", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

static int job_find_object(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
                           sd_bus_error *error) {
        Job *j = job_find(userdata, path);

        (void) bus, (void) interface, (void) error;
        if (!j)
                return 0;
        *ret = j;
        return 1;
}

static int job_nodes(sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        const Manager *m = userdata;
        size_t n = 0;

        (void) bus, (void) prefix, (void) error;
        for (const Job *j = m->jobs; j; j = j->next)
                n++;
        char **nodes = calloc(n + 1, sizeof *nodes); /* libsystemd frees it */
        if (!nodes)
                return -ENOMEM;
        n = 0;
        for (const Job *j = m->jobs; j; j = j->next)
                if ((nodes[n] = strdup(j->path)))
                        n++;
        *ret = nodes;
        return 0;
}

int bus_job_register(Manager *m) {
        int r = sd_bus_add_fallback_vtable(m->bus, NULL, BUS_PATH "/job", BUS_JOB, job_vtable, job_find_object, m);

        return r < 0 ? r : sd_bus_add_node_enumerator(m->bus, NULL, BUS_PATH "/job", job_nodes, m);
}

/* To the owner only; a caller who has left gets nothing. */
static void job_send(const Job *j, sd_bus_message *signal) {
        if (sd_bus_message_set_destination(signal, j->owner) >= 0)
                (void) sd_bus_send(NULL, signal, NULL);
}

void bus_job_added(const Job *j) {
        (void) sd_bus_emit_object_added(j->manager->bus, j->path);
}

void bus_job_changed(const Job *j) {
        sd_bus_message *s = NULL;

        int r = sd_bus_message_new_signal(j->manager->bus, &s, j->path, "org.freedesktop.DBus.Properties",
                                          "PropertiesChanged");
        if (r >= 0)
                r = sd_bus_message_append(s, "sa{sv}as", BUS_JOB, 4, "State", "s", job_state_to_string(j->state),
                                          "Done", "u", j->done, "Total", "u", j->total, "Text", "s",
                                          j->text ? j->text : "", 0);
        if (r >= 0)
                job_send(j, s);
        sd_bus_message_unref(s);
}

void bus_job_over(const Job *j, json_t *result, json_t *error, json_t *findings) {
        _cleanup_json_ json_t *outcome = NULL;
        _cleanup_free_ char *text = NULL;
        sd_bus_message *s = NULL;

        outcome = json_pack("{s:s, s:O?, s:O?}", "state", job_state_to_string(j->state), "result", result, "error",
                            error);
        if (outcome && findings)
                json_object_set(outcome, "findings", findings);
        text = outcome ? json_dumps(outcome, JSON_COMPACT) : NULL;
        if (!text)
                return;
        int r = sd_bus_message_new_signal(j->manager->bus, &s, BUS_PATH, BUS_MANAGER, "JobRemoved");
        if (r >= 0)
                r = sd_bus_message_append(s, "tos", j->id, j->path, text);
        if (r >= 0)
                job_send(j, s);
        sd_bus_message_unref(s);
}

void bus_job_removed(const Job *j) {
        (void) sd_bus_emit_object_removed(j->manager->bus, j->path);
}
