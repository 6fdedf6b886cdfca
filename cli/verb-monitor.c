/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events as they happen, from the daemon's signals. */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "bus.h"
#include "output.h"

#define NAME "org.passthru1"
#define PATH "/org/passthru1"
#define MANAGER NAME ".Manager"
#define CONTROLLER NAME ".Controller"
#define JOB NAME ".Job"
#define OBJECTS "org.freedesktop.DBus.ObjectManager"
#define PROPERTIES "org.freedesktop.DBus.Properties"

typedef struct Monitor {
        sd_event *event;
        bool json, ended; /* the daemon has */
        json_t *controllers; /* {object path: {property: value}}: what has been said already */
        json_t *jobs;        /* {object path: kind} */
} Monitor;

/* -- output ------------------------------------------------------------------------------------------------------------- */

static void time_text(const struct timeval *now, bool json, char text[static 64]) {
        char seconds[32], zone[16];
        struct tm tm;

        (void) localtime_r(&now->tv_sec, &tm);
        (void) strftime(seconds, sizeof seconds, json ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S", &tm);
        (void) strftime(zone, sizeof zone, "%z", &tm);
        /* "+0200" as RFC 3339 writes it */
        if (json)
                (void) snprintf(text, 64, "%s.%06ld%.3s:%.2s", seconds, (long) now->tv_usec, zone, zone + 3);
        else
                (void) snprintf(text, 64, "%s.%03ld", seconds, (long) now->tv_usec / 1000);
}

/* Takes the reference to event; each line is out at once, for programs that read it through a pipe. */
static void print_event(const Monitor *m, json_t *event, const char *what) {
        struct timeval now;
        char when[64];

        (void) gettimeofday(&now, NULL);
        time_text(&now, m->json, when);
        if (m->json && event) {
                json_object_set_new(event, "time", json_string(when));
                (void) json_dumpf(event, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
                (void) putchar('\n');
        } else
                printf("%s %s %s\n", when, output_text(event, "address"), what);
        json_decref(event);
        if (fflush(stdout) != 0)
                (void) sd_event_exit(m->event, -EIO);
}

static json_t *event_new(const char *address, const char *event, const char *property, json_t *value) {
        return json_pack("{s:n, s:s?, s:s, s:s?, s:O?}", "time", "address", address, "event", event, "property", property,
                         "value", value);
}

static void say_daemon(const Monitor *m, const char *state) {
        _cleanup_json_ json_t *value = json_string(state);
        char what[128];

        (void) snprintf(what, sizeof what, "passthrud: %s", state);
        print_event(m, event_new(NULL, "daemon", "state", value), what);
}

static void say_job(const Monitor *m, const char *path, const char *kind, const char *state) {
        const char *number = strrchr(path, '/');
        _cleanup_json_ json_t *value = json_string(state);
        json_t *event = event_new(NULL, "job", "state", value);
        char what[128];

        (void) snprintf(what, sizeof what, "job %s, %s: %s", number ? number + 1 : path, kind, state);
        json_object_set_new(event, "job", json_integer(number ? strtoll(number + 1, NULL, 10) : 0));
        json_object_set_new(event, "kind", json_string(kind));
        print_event(m, event, what);
}

/* -- controllers -------------------------------------------------------------------------------------------------------- */

/* The daemon's properties and the names that `list --json` has for them. */
static const struct {
        const char *name, *key;
} properties[] = {
        { "State", "state" },   { "Driver", "driver" }, { "IommuGroup", "iommu_group" },
        { "Vendor", "vendor" }, { "Device", "device" },
};

/* The value as `list --json` has it. */
static json_t *property_value(const char *name, const json_t *value) {
        char id[16];

        if ((json_is_string(value) && !*json_string_value(value)) ||
            (str_equal(name, "IommuGroup") && json_integer_value(value) < 0))
                return json_null();
        if (!str_equal(name, "Vendor") && !str_equal(name, "Device"))
                return json_incref((json_t *) value);
        (void) snprintf(id, sizeof id, "%04llx", (unsigned long long) json_integer_value(value));
        return json_string(id);
}

static char *value_text(const json_t *value) {
        return json_is_null(value) ? strdup("none") :
               json_is_string(value) ? strdup(json_string_value(value)) :
                                       json_dumps(value, JSON_ENCODE_ANY);
}

static void say_change(const Monitor *m, const char *address, size_t property, const json_t *old, const json_t *new) {
        const char *name = properties[property].name, *key = properties[property].key;
        _cleanup_json_ json_t *was = property_value(name, old), *is = property_value(name, new);
        _cleanup_free_ char *from = value_text(was), *to = value_text(is), *what = NULL;

        if (asprintf(&what, "%s: %s → %s", key, from ? from : "", to ? to : "") < 0)
                what = NULL;
        print_event(m, event_new(address, "changed", key, is), what ? what : key);
}

/* Takes in what a signal says of a controller; what differs from what has been said before is said. */
static void controller_update(Monitor *m, const char *path, const json_t *seen) {
        json_t *known = json_object_get(m->controllers, path);

        for (size_t i = 0; i < ELEMENTSOF(properties); i++) {
                const char *name = properties[i].name;
                const json_t *old = json_object_get(known, name), *new = json_object_get(seen, name);
                if (old && new && !json_equal(old, new))
                        say_change(m, json_string_value(json_object_get(known, "Address")), i, old, new);
        }
        (void) json_object_update(known, (json_t *) seen);
}

static void controller_added(Monitor *m, const char *path, json_t *seen) {
        const char *address = json_string_value(json_object_get(seen, "Address"));
        json_t *state = json_object_get(seen, "State");
        _cleanup_free_ char *what = NULL;

        if (!address || !json_is_string(state))
                return;
        /* A daemon that has been started again adds all of them. */
        if (json_object_get(m->controllers, path)) {
                controller_update(m, path, seen);
                return;
        }
        json_object_set(m->controllers, path, seen);
        if (asprintf(&what, "added, state: %s", json_string_value(state)) < 0)
                what = NULL;
        print_event(m, event_new(address, "added", "state", state), what ? what : "added");
}

static void object_removed(Monitor *m, const char *path) {
        const json_t *known = json_object_get(m->controllers, path);
        const char *kind = json_string_value(json_object_get(m->jobs, path));

        if (known)
                print_event(m, event_new(json_string_value(json_object_get(known, "Address")), "removed", NULL, NULL),
                            "removed");
        if (kind)
                say_job(m, path, kind, "ended");
        json_object_del(m->controllers, path);
        json_object_del(m->jobs, path);
}

/* -- messages ----------------------------------------------------------------------------------------------------------- */

/* One variant of a simple type; others, which nothing here needs, are skipped. */
static int read_variant(sd_bus_message *s, json_t **ret) {
        const char *text, *contents;
        uint16_t q;
        int32_t i;
        char type;

        *ret = NULL;
        int r = sd_bus_message_peek_type(s, &type, &contents);
        if (r < 0 || type != 'v')
                return r < 0 ? r : -EBADMSG;
        if (str_equal(contents, "s") && (r = sd_bus_message_read(s, "v", "s", &text)) >= 0)
                *ret = json_string(text);
        else if (str_equal(contents, "q") && (r = sd_bus_message_read(s, "v", "q", &q)) >= 0)
                *ret = json_integer(q);
        else if (str_equal(contents, "i") && (r = sd_bus_message_read(s, "v", "i", &i)) >= 0)
                *ret = json_integer(i);
        else
                r = sd_bus_message_skip(s, "v");
        return r;
}

/* a{sv} */
static int read_properties(sd_bus_message *s, json_t **ret) {
        _cleanup_json_ json_t *all = json_object();
        const char *name;
        json_t *value;

        int r = sd_bus_message_enter_container(s, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(s, 'e', "sv")) > 0) {
                if ((r = sd_bus_message_read_basic(s, 's', &name)) < 0 || (r = read_variant(s, &value)) < 0)
                        return r;
                if (value)
                        json_object_set_new(all, name, value);
                r = sd_bus_message_exit_container(s);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(s);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(all);
        return 0;
}

/* a{sa{sv}}: what one object has; the interface that matters, and its properties. */
static int read_object(sd_bus_message *s, const char **ret_interface, json_t **ret) {
        const char *interface;

        *ret_interface = NULL;
        int r = sd_bus_message_enter_container(s, 'a', "{sa{sv}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(s, 'e', "sa{sv}")) > 0) {
                _cleanup_json_ json_t *p = NULL;
                if ((r = sd_bus_message_read_basic(s, 's', &interface)) < 0 || (r = read_properties(s, &p)) < 0)
                        return r;
                if (str_equal(interface, CONTROLLER) || str_equal(interface, JOB)) {
                        *ret_interface = interface;
                        json_decref(*ret);
                        *ret = TAKE_PTR(p);
                }
                r = sd_bus_message_exit_container(s);
        }
        return r < 0 ? r : sd_bus_message_exit_container(s);
}

static int on_added(sd_bus_message *s, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *seen = NULL;
        const char *path, *interface;
        Monitor *m = userdata;

        (void) error;
        if (sd_bus_message_read_basic(s, 'o', &path) < 0 || read_object(s, &interface, &seen) < 0 || !interface)
                return 0;
        if (str_equal(interface, CONTROLLER)) {
                controller_added(m, path, seen);
                return 0;
        }
        const char *kind = json_string_value(json_object_get(seen, "Kind"));
        json_object_set_new(m->jobs, path, json_string(kind ? kind : "?"));
        say_job(m, path, kind ? kind : "?", "running");
        return 0;
}

static int on_removed(sd_bus_message *s, void *userdata, sd_bus_error *error) {
        const char *path;

        (void) error;
        if (sd_bus_message_read_basic(s, 'o', &path) >= 0)
                object_removed(userdata, path);
        return 0;
}

static int on_changed(sd_bus_message *s, void *userdata, sd_bus_error *error) {
        const char *interface, *path = sd_bus_message_get_path(s);
        _cleanup_json_ json_t *seen = NULL;

        (void) error;
        if (sd_bus_message_read_basic(s, 's', &interface) < 0 || read_properties(s, &seen) < 0)
                return 0;
        if (str_equal(interface, CONTROLLER))
                controller_update(userdata, path, seen);
        else if (str_equal(interface, MANAGER) && json_object_get(seen, "State"))
                say_daemon(userdata, json_string_value(json_object_get(seen, "State")));
        return 0;
}

static int on_owner(sd_bus_message *s, void *userdata, sd_bus_error *error) {
        const char *name, *old, *new;
        Monitor *m = userdata;

        (void) error;
        /* Our own first call may have started it, which is no event. */
        if (sd_bus_message_read(s, "sss", &name, &old, &new) < 0 || (*new && !m->ended))
                return 0;
        m->ended = !*new;
        say_daemon(m, m->ended ? "ended" : "started");
        return 0;
}

/* -- the beginning ------------------------------------------------------------------------------------------------------ */

static int subscribe(sd_bus *bus, Monitor *m) {
        int r = sd_bus_match_signal(bus, NULL, NAME, PATH, OBJECTS, "InterfacesAdded", on_added, m);

        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NAME, PATH, OBJECTS, "InterfacesRemoved", on_removed, m);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NAME, NULL, PROPERTIES, "PropertiesChanged", on_changed, m);
        if (r >= 0)
                r = sd_bus_add_match(bus, NULL, "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                                                "member='NameOwnerChanged',arg0='" NAME "'", on_owner, m);
        return r;
}

static int read_objects(Monitor *m, sd_bus_message *s) {
        const char *path, *interface;

        int r = sd_bus_message_enter_container(s, 'a', "{oa{sa{sv}}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(s, 'e', "oa{sa{sv}}")) > 0) {
                _cleanup_json_ json_t *seen = NULL;
                if ((r = sd_bus_message_read_basic(s, 'o', &path)) < 0 || (r = read_object(s, &interface, &seen)) < 0)
                        return r;
                if (str_equal(interface, CONTROLLER))
                        json_object_set(m->controllers, path, seen);
                else if (str_equal(interface, JOB))
                        json_object_set(m->jobs, path, json_object_get(seen, "Kind"));
                r = sd_bus_message_exit_container(s);
        }
        return r;
}

/* What there is already, so that only changes are said. Signals that come meanwhile wait in the queue. */
static int begin(sd_bus *bus, Monitor *m, Error **e) {
        sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_free_ char *state = NULL;

        int r = sd_bus_message_new_method_call(bus, &call, NAME, PATH, OBJECTS, "GetManagedObjects");
        if (r < 0)
                return error_set(e, -r, "no message can be made: %s", strerror(-r));
        r = bus_call(bus, call, &reply, e);
        if (r < 0)
                return r;
        r = read_objects(m, reply);
        sd_bus_message_unref(reply);
        if (r >= 0)
                r = sd_bus_get_property_string(bus, NAME, PATH, MANAGER, "State", NULL, &state);
        if (r < 0)
                return error_set(e, -r, "passthrud's answer cannot be read: %s", strerror(-r));
        say_daemon(m, state);
        return 0;
}

/* Ctrl-C is how it is meant to end. */
static int monitor_loop(sd_bus *bus, Monitor *m, Error **e) {
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        int r = sigprocmask(SIG_BLOCK, &signals, NULL) < 0 ? -errno : sd_event_default(&m->event);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = subscribe(bus, m);
        if (r < 0)
                return error_set(e, -r, "passthrud's signals cannot be watched: %s", strerror(-r));
        r = begin(bus, m, e);
        if (r < 0)
                return r;
        if ((r = sd_bus_set_exit_on_disconnect(bus, 1)) < 0 || (r = sd_bus_attach_event(bus, m->event, 0)) < 0 ||
            (r = sd_event_loop(m->event)) < 0)
                return error_set(e, -r, ferror(stdout) ? "the output could not be written: %s" :
                                                         "passthrud's signals cannot be watched any more: %s", strerror(-r));
        /* libsystemd's own way to say that the bus is gone */
        return r > 0 ? error_set_full(e, ECONNRESET, "no-bus", "Run it again.", "the connection to the bus was lost") : 0;
}

int verb_monitor(const Arguments *a, Error **e) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        Monitor m = { .json = a->json, .controllers = json_object(), .jobs = json_object() };

        int r = bus_open(a, &bus, e);
        if (r >= 0)
                r = monitor_loop(bus, &m, e);
        if (bus)
                (void) sd_bus_detach_event(bus);
        sd_event_unref(m.event);
        json_decref(m.controllers);
        json_decref(m.jobs);
        return r < 0 ? r : EXIT_DONE;
}
