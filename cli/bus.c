/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus.h"

#include <errno.h>
#include <signal.h>

#include "agent.h"

#define NAME "org.passthru1"
#define PATH "/org/passthru1"
#define MANAGER NAME ".Manager"

/* The daemon sets its own deadlines; this one is only for a daemon that has died without the bus noticing. */
#define CALL_TIMEOUT_USEC (120 * 1000000ULL)
/* The same when somebody may be typing a password; the daemon gives up after ten minutes. */
#define PERSON_TIMEOUT_USEC (11 * 60 * 1000000ULL)

/* A person can be asked for a password: only here, there is no agent at the other end of ssh. */
static bool is_interactive(const Arguments *a) {
        return !a->host && geteuid() != 0 && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

int bus_open(const Arguments *a, sd_bus **ret, Error **e) {
        int r = a->host ? sd_bus_open_system_remote(ret, a->host) : sd_bus_open_system(ret);

        if (r < 0)
                return error_set_full(e, -r, "no-bus", a->host ? "See that `ssh HOST true` works without questions." :
                                                                 "Is this a system with systemd and D-Bus? `systemctl status dbus`",
                                      "the system bus%s%s cannot be reached: %s", a->host ? " of " : "", a->host ? a->host : "",
                                      strerror(-r));
        if (!is_interactive(a))
                return 0;
        agent_start();
        r = sd_bus_set_allow_interactive_authorization(*ret, 1);
        return r < 0 ? error_set(e, -r, "the connection to the system bus cannot be set up: %s", strerror(-r)) : 0;
}

int bus_message(sd_bus *bus, const char *method, sd_bus_message **ret, Error **e) {
        int r = sd_bus_message_new_method_call(bus, ret, NAME, PATH, MANAGER, method);

        return r < 0 ? error_set(e, -r, "no message can be made: %s", strerror(-r)) : 0;
}

int bus_append_strings(sd_bus_message *m, char *const *strings, size_t n, Error **e) {
        int r = sd_bus_message_open_container(m, 'a', "s");

        for (size_t i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append_basic(m, 's', strings[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? error_set(e, -r, "the request cannot be built: %s", strerror(-r)) : 0;
}

/* "org.passthru1.Error.NoSuchGuest" is "no-such-guest". */
static char *word_of(const char *name) {
        const char *last = strrchr(name, '.');
        char *word = calloc(1, 2 * strlen(name) + 1), *end = word;

        for (const char *c = last ? last + 1 : name; word && *c; c++) {
                if (*c >= 'A' && *c <= 'Z') {
                        if (end != word)
                                *end++ = '-';
                        *end++ = (char) (*c - 'A' + 'a');
                } else
                        *end++ = *c;
        }
        return word;
}

static bool is_remote(sd_bus *bus) {
        const char *address;

        return sd_bus_get_address(bus, &address) >= 0 && strncmp(address, "unixexec:", strlen("unixexec:")) == 0;
}

/* The daemon's own text says what was denied and why; the bus's own is about its policy. */
static int denied(sd_bus *bus, const char *text, const char *remedy, Error **e) {
        static const char prefix[] = "permission denied";
        bool complete = strncmp(text, prefix, strlen(prefix)) == 0;

        if (is_remote(bus))
                remedy = "There is no polkit agent to ask for a password with -H: use -H root@HOST, or allow it there with "
                         "a polkit rule.";
        else if (!remedy)
                remedy = "Run it as root: sudo passthructl ...";
        return error_set_full(e, EACCES, "permission-denied", remedy, "%s%s%s", complete ? "" : prefix,
                              complete ? "" : ": ", text);
}

static int from_bus_error(sd_bus *bus, const sd_bus_error *error, int r, Error **e) {
        _cleanup_free_ char *text = NULL, *word = NULL;
        char *remedy;

        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
            sd_bus_error_has_name(error, "org.freedesktop.systemd1.UnitMasked"))
                return error_set_full(e, ECONNREFUSED, "no-daemon", "Start it: systemctl start passthrud", "passthrud is not running");
        text = strdup(error->message ? error->message : strerror(-r));
        word = word_of(error->name ? error->name : "failed");
        if (!text)
                return error_oom(e);
        remedy = strchr(text, '\n');
        if (remedy)
                *remedy++ = 0;
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                return denied(bus, text, remedy, e);
        return error_set_full(e, -r, word, remedy, "%s", text);
}

int bus_call(sd_bus *bus, sd_bus_message *m, sd_bus_message **ret, Error **e) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        bool person = sd_bus_get_allow_interactive_authorization(bus) > 0;

        int r = sd_bus_call(bus, m, person ? PERSON_TIMEOUT_USEC : CALL_TIMEOUT_USEC, &error, ret);
        sd_bus_message_unref(m);
        if (r < 0)
                (void) from_bus_error(bus, &error, r, e);
        sd_bus_error_free(&error);
        return r < 0 ? r : 0;
}

static int parse(const char *text, json_t **ret, Error **e) {
        *ret = json_loads(text, JSON_DECODE_ANY, NULL);
        return *ret ? 0 : error_set(e, EPROTO, "passthrud answered something that is no JSON");
}

int bus_call_json(sd_bus *bus, sd_bus_message *m, json_t **ret, Error **e) {
        sd_bus_message *reply = NULL;
        const char *text;

        int r = bus_call(bus, m, &reply, e);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(reply, 's', &text);
        r = r < 0 ? error_set(e, -r, "passthrud's answer cannot be read") : parse(text, ret, e);
        sd_bus_message_unref(reply);
        return r;
}

int bus_simple(const Arguments *a, const char *method, const char *argument, json_t **ret, Error **e) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        sd_bus_message *m = NULL;

        int r = bus_open(a, &bus, e);
        if (r < 0 || (r = bus_message(bus, method, &m, e)) < 0)
                return r;
        if (argument && (r = sd_bus_message_append_basic(m, 's', argument)) < 0)
                return error_set(e, -r, "the request cannot be built: %s", strerror(-r));
        return bus_call_json(bus, m, ret, e);
}

/* -- jobs -------------------------------------------------------------------------------------------------------------- */

typedef struct Waiting {
        char *path;   /* of our job, once known */
        json_t *ended; /* {path: result}: a job may end before its path is known */
        char *shown;
        bool lost;    /* the daemon that has the job is gone; a new one knows nothing of it */
} Waiting;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
        (void) signal_number;
        interrupted = interrupted + 1;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Waiting *w = userdata;
        const char *path, *result;
        uint64_t id;

        (void) error;
        if (sd_bus_message_read(m, "tos", &id, &path, &result) >= 0)
                json_object_set_new(w->ended, path, json_loads(result, 0, NULL));
        return 0;
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Waiting *w = userdata;
        const char *interface, *key;
        uint32_t done = 0, total = 0;
        const char *text = NULL;

        (void) error;
        if (!w->path || !str_equal(sd_bus_message_get_path(m), w->path) || sd_bus_message_read_basic(m, 's', &interface) < 0 ||
            sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
                return 0;
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                if (sd_bus_message_read_basic(m, 's', &key) < 0)
                        return 0;
                if (str_equal(key, "Done"))
                        (void) sd_bus_message_read(m, "v", "u", &done);
                else if (str_equal(key, "Total"))
                        (void) sd_bus_message_read(m, "v", "u", &total);
                else if (str_equal(key, "Text"))
                        (void) sd_bus_message_read(m, "v", "s", &text);
                else
                        (void) sd_bus_message_skip(m, "v");
                (void) sd_bus_message_exit_container(m);
        }
        if (text && *text && isatty(STDERR_FILENO) && !str_equal(text, w->shown)) {
                if (total)
                        fprintf(stderr, "[%u/%u] %s\n", done + 1, total, text);
                else
                        fprintf(stderr, "%s\n", text);
                free(w->shown);
                w->shown = strdup(text);
        }
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *old, *new;
        Waiting *w = userdata;

        (void) error;
        if (sd_bus_message_read(m, "sss", &name, &old, &new) >= 0 && *old)
                w->lost = true;
        return 0;
}

/* Stops the job; what it did is undone, and its end is waited for. */
static void cancel(sd_bus *bus, const Waiting *w) {
        fprintf(stderr, "passthructl: stopping; what was done is undone (Ctrl-C again leaves it to passthrud)\n");
        (void) sd_bus_call_method_async(bus, NULL, NAME, w->path, NAME ".Job", "Cancel", NULL, NULL, NULL);
}

static int wait_for_end(sd_bus *bus, Waiting *w, Error **e) {
        bool cancelled = false;

        while (!json_object_get(w->ended, w->path)) {
                if (interrupted && !cancelled)
                        cancel(bus, w);
                cancelled = interrupted;
                if (interrupted > 1)
                        return error_set_full(e, EINTR, "interrupted", "`passthructl list` shows how it stands.",
                                              "the job goes on in passthrud");
                int r = sd_bus_process(bus, NULL);
                if (r == 0 && !w->lost)
                        r = sd_bus_wait(bus, 1000000); /* a Ctrl-C just before it is seen a second late */
                if (r < 0 && r != -EINTR)
                        return error_set_full(e, -r, "no-daemon", "`systemctl status passthrud` and `passthructl status` show how it "
                                                                  "stands.", "the connection to passthrud was lost: %s", strerror(-r));
                if (r == 0 && w->lost)
                        return error_set_full(e, ECONNRESET, "no-daemon",
                                              "It is started again and finishes or undoes the job; `passthructl status` shows how it "
                                              "stands.", "passthrud ended before the job did");
        }
        return 0;
}

static int job_result(const json_t *ended, json_t **ret, Error **e) {
        json_t *error = json_object_get(ended, "error"), *result = json_object_get(ended, "result");

        if (json_is_object(error))
                return error_from_json(error, e);
        if (!result || json_is_null(result))
                return error_set_full(e, EIO, "failed", "`journalctl -u passthrud` tells more.", "the job ended as %s",
                                      json_string_value(json_object_get(ended, "state")));
        *ret = json_incref(result);
        return 0;
}

static int watch(sd_bus *bus, Waiting *w, Error **e) {
        int r = sd_bus_match_signal(bus, NULL, NAME, PATH, MANAGER, "JobRemoved", on_removed, w);

        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NAME, NULL, "org.freedesktop.DBus.Properties", "PropertiesChanged", on_changed, w);
        if (r >= 0)
                r = sd_bus_add_match(bus, NULL, "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',"
                                     "interface='org.freedesktop.DBus',arg0='" NAME "'", on_owner_changed, w);
        return r < 0 ? error_set(e, -r, "passthrud's signals cannot be watched: %s", strerror(-r)) : 0;
}

int bus_call_job(sd_bus *bus, sd_bus_message *m, json_t **ret, Error **e) {
        const struct sigaction action = { .sa_handler = on_interrupt };
        Waiting w = { .ended = json_object() };
        sd_bus_message *reply = NULL;
        const char *path;

        int r = watch(bus, &w, e);
        if (r >= 0)
                r = bus_call(bus, m, &reply, e);
        else
                sd_bus_message_unref(m);
        if (r >= 0 && sd_bus_message_read_basic(reply, 'o', &path) >= 0) {
                w.path = strdup(path);
                (void) sigaction(SIGINT, &action, NULL);
                r = w.path ? wait_for_end(bus, &w, e) : error_oom(e);
        }
        sd_bus_message_unref(reply);
        if (r >= 0)
                r = job_result(json_object_get(w.ended, w.path), ret, e);
        free(w.path);
        free(w.shown);
        json_decref(w.ended);
        return r;
}
