/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/agent-parse.h"

#include <errno.h>
#include <stdarg.h>

void agent_disks_clear(AgentDisks *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->items[i].name);
                free(d->items[i].serial);
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

int guest_add_use(Guest *g, const char *serial, const char *format, ...) {
        GuestUse u = {};
        va_list ap;

        GuestUse *more = reallocarray(g->uses, g->n_uses + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        g->uses = more;
        va_start(ap, format);
        int r = vasprintf(&u.what, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        if (serial && !(u.serial = strdup(serial))) {
                free(u.what);
                return -ENOMEM;
        }
        more[g->n_uses++] = u;
        return 0;
}

/* -- disks ------------------------------------------------------------------------------------------------------------- */

static int add_disk(AgentDisks *d, const char *name, const char *serial) {
        AgentDisk *more = reallocarray(d->items, d->n + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        d->items = more;
        more[d->n] = (AgentDisk){ .name = strdup(name), .serial = serial ? strdup(serial) : NULL };
        d->n++;
        return more[d->n - 1].name && (!serial || more[d->n - 1].serial) ? 0 : -ENOMEM;
}

static int add_serial(Guest *g, const char *serial) {
        char **more = reallocarray(g->disk_serials, g->n_disk_serials + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        g->disk_serials = more;
        if (!(more[g->n_disk_serials] = strdup(serial)))
                return -ENOMEM;
        g->n_disk_serials++;
        return 0;
}

static const char *serial_of(const AgentDisks *d, const char *name) {
        for (size_t i = 0; name && i < d->n; i++)
                if (str_equal(d->items[i].name, name))
                        return d->items[i].serial;
        return NULL;
}

static int read_whole_disk(const json_t *disk, AgentDisks *d, Guest *g) {
        const char *name = text(disk, "name"), *serial = text(json_object_get(disk, "address"), "serial");

        if (!name)
                return -EPROTO;
        if (json_is_true(json_object_get(disk, "partition")))
                return 0;
        int r = add_disk(d, name, serial);
        return r < 0 || !serial ? r : add_serial(g, serial);
}

/* A partition is as its disk; what lies on several disks is of none. */
static int read_partition(const json_t *disk, AgentDisks *d) {
        const json_t *below = json_object_get(disk, "dependencies");

        if (!json_is_true(json_object_get(disk, "partition")))
                return 0;
        return add_disk(d, text(disk, "name"), json_array_size(below) == 1 ? serial_of(d, json_string_value(json_array_get(below, 0)))
                                                                           : NULL);
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
        json_array_foreach(disks, i, disk)
                if (r >= 0)
                        r = read_partition(disk, &d);
        if (r < 0)
                return r == -EPROTO ? malformed(e, "guest-get-disks") : error_oom(e);
        *ret = d;
        d = (AgentDisks){};
        return 0;
}

/* -- file systems ------------------------------------------------------------------------------------------------------ */

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
        json_array_foreach((json_t *) disks, i, disk) {
                const char *serial = text(disk, "serial");
                /* A virtio disk is the hypervisor's: it cannot be behind a controller of its own. */
                if (!serial && str_equal(text(disk, "bus-type"), "virtio"))
                        continue;
                int r = guest_add_use(g, serial, serial ? "mounted at %s (%s)" :
                                      "the file system mounted at %s (%s) is on a disk whose serial number its agent does not tell",
                                      where, name);
                if (r < 0)
                        return r;
        }
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

/* -- pools ------------------------------------------------------------------------------------------------------------- */

/* "  pool: tank" begins a pool, "    /dev/sda1  ONLINE  0 0 0" is one of its members (zpool-status(8)). */
static int read_pool_line(const char *line, char *pool, size_t size, const AgentDisks *d, Guest *g) {
        char first[256] = "", second[256] = "";

        if (sscanf(line, "%255s %255s", first, second) < 1)
                return 0;
        if (str_equal(first, "pool:"))
                (void) snprintf(pool, size, "%s", second);
        if (strncmp(first, "/dev/", 5) != 0)
                return 0;
        const char *serial = serial_of(d, first);
        return guest_add_use(g, serial, serial ? "member of the imported pool %s (%s)" :
                             "the imported pool %s has %s, a disk whose serial number its agent does not tell", pool, first);
}

int agent_parse_pools(const char *status, const AgentDisks *d, Guest *g, Error **e) {
        _cleanup_free_ char *copy = strdup(status);
        char pool[256] = "?", *save = NULL;

        if (!copy)
                return error_oom(e);
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
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
        const json_t *code = json_object_get(status, "exitcode");
        *ret_status = json_is_integer(code) ? (int) json_integer_value(code) : -1;
        *ret_output = base64_decode(output ? output : "");
        return *ret_output ? 1 : error_oom(e);
}
