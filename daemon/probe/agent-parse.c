/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/agent-parse.h"

#include <errno.h>
#include <stdarg.h>

#include "base/text.h"

void agent_disks_clear(AgentDisks *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->items[i].name);
                free(d->items[i].serial);
                free(d->items[i].controller);
        }
        free(d->items);
        *d = (AgentDisks){};
}

static int malformed(Error **e, const char *command) {
        return error_set(e, EPROTO, "its agent's answer to %s is malformed", command);
}

/* The member "return" of the type, or NULL. */
static json_t *answer(json_t *reply, json_type type) {
        json_t *j = json_object_get(reply, "return");

        return j && json_typeof(j) == type ? j : NULL;
}

static const char *text(const json_t *j, const char *key) {
        const char *s = json_string_value(json_object_get(j, key));

        return s && *s ? s : NULL;
}

static int copy(char **ret, const char *s) {
        *ret = s ? strdup(s) : NULL;
        return s && !*ret ? -ENOMEM : 0;
}

int guest_add_use(Guest *g, const AgentDisk *d, const char *format, ...) {
        va_list ap;

        GuestUse *more = reallocarray(g->uses, g->n_uses + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        g->uses = more;
        GuestUse *u = &more[g->n_uses];
        *u = (GuestUse){};
        va_start(ap, format);
        int r = vasprintf(&u->what, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        text_clean(u->what);
        g->n_uses++; /* what is not copied now counts as not told */
        return d && (copy(&u->serial, d->serial) < 0 || copy(&u->controller, d->controller) < 0) ? -ENOMEM : 0;
}

/* -- disks ------------------------------------------------------------------------------------------------------------- */

/* "0000:00:1f.2" of GuestPCIAddress, where -1 stands for not known. */
static int read_controller(const json_t *address, char **ret) {
        const json_t *pci = json_object_get(address, "pci-controller");
        const json_t *parts[] = { json_object_get(pci, "domain"), json_object_get(pci, "bus"), json_object_get(pci, "slot"),
                                  json_object_get(pci, "function") };

        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                if (!json_is_integer(parts[i]) || json_integer_value(parts[i]) < 0)
                        return 0;
        return asprintf(ret, "%04llx:%02llx:%02llx.%llx", (long long) json_integer_value(parts[0]),
                        (long long) json_integer_value(parts[1]), (long long) json_integer_value(parts[2]),
                        (long long) json_integer_value(parts[3])) < 0 ? -ENOMEM : 0;
}

static int add_disk(AgentDisks *d, const char *name, const char *serial, const char *controller) {
        AgentDisk *more = reallocarray(d->items, d->n + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        d->items = more;
        more[d->n] = (AgentDisk){};
        d->n++;
        AgentDisk *new = &more[d->n - 1];
        return copy(&new->name, name) < 0 || copy(&new->serial, serial) < 0 || copy(&new->controller, controller) < 0 ? -ENOMEM : 0;
}

static int add_guest_disk(Guest *g, const char *serial, const char *controller) {
        GuestDisk *more = reallocarray(g->disks, g->n_disks + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        g->disks = more;
        GuestDisk *new = &more[g->n_disks++];
        *new = (GuestDisk){};
        return copy(&new->serial, serial) < 0 || copy(&new->controller, controller) < 0 ? -ENOMEM : 0;
}

static const AgentDisk *find_disk(const AgentDisks *d, const char *name) {
        for (size_t i = 0; name && i < d->n; i++)
                if (str_equal(d->items[i].name, name))
                        return &d->items[i];
        return NULL;
}

static int read_whole_disk(const json_t *disk, AgentDisks *d, Guest *g) {
        const json_t *address = json_object_get(disk, "address");
        const char *name = text(disk, "name"), *serial = text(address, "serial");
        _cleanup_free_ char *controller = NULL;

        if (!name)
                return -EPROTO;
        if (json_is_true(json_object_get(disk, "partition")) || json_array_size(json_object_get(disk, "dependencies")) > 0)
                return 0;
        if (read_controller(address, &controller) < 0 || add_disk(d, name, serial, controller) < 0)
                return -ENOMEM;
        return add_guest_disk(g, serial, controller);
}

/* A partition is as its disk. What else depends on disks (md, device-mapper) holds them, mounted or not. */
static int read_dependent(const json_t *disk, AgentDisks *d, Guest *g) {
        const json_t *below = json_object_get(disk, "dependencies");
        const char *name = text(disk, "name");
        size_t i;
        json_t *one;

        if (json_is_true(json_object_get(disk, "partition"))) {
                const AgentDisk *whole = find_disk(d, json_string_value(json_array_get(below, 0)));
                return add_disk(d, name, whole ? whole->serial : NULL, whole ? whole->controller : NULL);
        }
        json_array_foreach((json_t *) below, i, one)
                if (guest_add_use(g, find_disk(d, json_string_value(one)), "held by %s", name) < 0)
                        return -ENOMEM;
        return 0;
}

int agent_parse_disks(const char *reply, AgentDisks *ret, Guest *g, Error **e) {
        _cleanup_json_ json_t *j = json_loads(reply, 0, NULL);
        json_t *disks = answer(j, JSON_ARRAY), *disk;
        _cleanup_(agent_disks_clear) AgentDisks d = {};
        int r = disks ? 0 : -EPROTO;
        size_t i;

        json_array_foreach(disks, i, disk)
                if (r >= 0)
                        r = read_whole_disk(disk, &d, g);
        /* Partitions first: what holds them comes after them only by chance. */
        json_array_foreach(disks, i, disk)
                if (r >= 0 && json_is_true(json_object_get(disk, "partition")))
                        r = read_dependent(disk, &d, g);
        json_array_foreach(disks, i, disk)
                if (r >= 0 && !json_is_true(json_object_get(disk, "partition")))
                        r = read_dependent(disk, &d, g);
        if (r < 0)
                return r == -EPROTO ? malformed(e, "guest-get-disks") : error_oom(e);
        *ret = d;
        d = (AgentDisks){};
        return 0;
}

/* -- file systems ------------------------------------------------------------------------------------------------------ */

static int add_mount(Guest *g, const json_t *disk, const char *where, const char *name) {
        _cleanup_free_ char *controller = NULL;

        if (read_controller(disk, &controller) < 0)
                return -ENOMEM;
        return guest_add_use(g, &(AgentDisk){ .serial = (char *) text(disk, "serial"), .controller = controller }, "mounted at %s (%s)", where, name);
}

static int read_filesystem(const json_t *fs, Guest *g) {
        const char *where = text(fs, "mountpoint"), *name = text(fs, "name");
        const json_t *disks = json_object_get(fs, "disk");
        size_t i;
        json_t *disk;

        if (!where || !name || !json_is_array(disks))
                return -EPROTO;
        /* One of the devices of a btrfs is named, and it may have more. */
        if (str_equal(text(fs, "type"), "btrfs") &&
            guest_add_use(g, NULL, "the btrfs mounted at %s may have more disks than its agent tells", where) < 0)
                return -ENOMEM;
        /* Behind loop devices, network file systems and the like there is no disk of its own. */
        json_array_foreach((json_t *) disks, i, disk)
                if (add_mount(g, disk, where, name) < 0)
                        return -ENOMEM;
        return 0;
}

int agent_parse_filesystems(const char *reply, Guest *g, Error **e) {
        _cleanup_json_ json_t *j = json_loads(reply, 0, NULL);
        json_t *all = answer(j, JSON_ARRAY), *fs;
        int r = all ? 0 : -EPROTO;
        size_t i;

        json_array_foreach(all, i, fs)
                if (r >= 0)
                        r = read_filesystem(fs, g);
        if (r < 0)
                return r == -EPROTO ? malformed(e, "guest-get-fsinfo") : error_oom(e);
        return 0;
}

/* -- pools and swap ---------------------------------------------------------------------------------------------------- */

/* "  pool: tank" begins a pool, "    /dev/sda1  ONLINE  0 0 0" is one of its members (zpool-status(8)). */
static int read_pool_line(const char *line, char *pool, size_t size, const AgentDisks *d, Guest *g) {
        char first[256] = "", second[256] = "";

        if (sscanf(line, "%255s %255s", first, second) < 1)
                return 0;
        if (str_equal(first, "swap:"))
                return guest_add_use(g, find_disk(d, second), "swap on %s", second);
        if (str_equal(first, "pool:"))
                (void) snprintf(pool, size, "%s", second);
        if (strncmp(first, "/dev/", 5) != 0)
                return 0;
        return guest_add_use(g, find_disk(d, first), "member of the imported pool %s (%s)", pool, first);
}

int agent_parse_pools(const char *status, const AgentDisks *d, Guest *g, Error **e) {
        _cleanup_free_ char *copied = strdup(status);
        char pool[256] = "?", *save = NULL;

        if (!copied)
                return error_oom(e);
        for (char *line = strtok_r(copied, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if (read_pool_line(line, pool, sizeof pool, d, g) < 0)
                        return error_oom(e);
        return 0;
}

/* -- processes --------------------------------------------------------------------------------------------------------- */

int agent_parse_pid(const char *reply, long long *ret, Error **e) {
        _cleanup_json_ json_t *j = json_loads(reply, 0, NULL);
        const json_t *pid = json_object_get(answer(j, JSON_OBJECT), "pid");

        if (!json_is_integer(pid))
                return malformed(e, "guest-exec");
        *ret = json_integer_value(pid);
        return 0;
}

static int digit(char c) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *found = c ? strchr(digits, c) : NULL;

        return found ? (int) (found - digits) : -1;
}

/* RFC 4648, section 4. Ends at the first character that is no digit. */
static char *base64_decode(const char *s) {
        char *decoded = malloc(strlen(s) + 1), *end = decoded;
        unsigned bits = 0, value = 0;
        int d;

        for (; decoded && (d = digit(*s)) >= 0; s++) {
                value = value << 6 | (unsigned) d;
                bits += 6;
                if (bits >= 8) {
                        bits -= 8;
                        *end++ = (char) (value >> bits);
                }
        }
        if (decoded)
                *end = 0;
        return decoded;
}

int agent_parse_exit(const char *reply, int *ret_status, char **ret_output, Error **e) {
        _cleanup_json_ json_t *j = json_loads(reply, 0, NULL);
        const json_t *status = answer(j, JSON_OBJECT);
        const char *output = text(status, "out-data");

        if (!json_is_boolean(json_object_get(status, "exited")))
                return malformed(e, "guest-exec-status");
        if (json_is_false(json_object_get(status, "exited")))
                return 0;
        if (json_is_true(json_object_get(status, "out-truncated")))
                return error_set(e, EPROTO, "its agent does not tell all");
        const json_t *code = json_object_get(status, "exitcode");
        *ret_status = json_is_integer(code) ? (int) json_integer_value(code) : -1;
        *ret_output = base64_decode(output ? output : "");
        return *ret_output ? 1 : error_oom(e);
}
