/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts of every namespace, swap, and what fstab, crypttab and the kernel's command line name. */
#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <libmount.h>

#include "base/file.h"
#include "probe/block-map.h"
#include "probe/probe.h"

typedef struct Mount {
        char *source, *target, *where; /* where: another namespace in words, NULL ours */
        unsigned major, minor;
        bool btrfs, zfs;               /* file systems on several disks, of which mountinfo names one, or the pool */
        bool swap;
        bool configured;               /* only named by a file, not in use now */
        bool boot;
} Mount;

typedef struct MountList {
        Mount *items;
        size_t n;
} MountList;

static void mount_list_clear(MountList *l) {
        for (size_t i = 0; i < l->n; i++) {
                free(l->items[i].source);
                free(l->items[i].target);
                free(l->items[i].where);
        }
        free(l->items);
}

static bool is_boot_target(const char *target) {
        static const char *const targets[] = { "/", "/usr", "/var", "/boot", "/boot/efi", "/efi" };

        for (size_t i = 0; target && i < ELEMENTSOF(targets); i++)
                if (str_equal(target, targets[i]))
                        return true;
        return false;
}

static int mount_add(MountList *l, const Mount *m) {
        Mount *more = reallocarray(l->items, l->n + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        l->items = more;
        Mount *new = &more[l->n++];
        *new = *m;
        new->source = m->source ? strdup(m->source) : NULL;
        new->target = m->target ? strdup(m->target) : NULL;
        new->where = m->where ? strdup(m->where) : NULL;
        return (m->source && !new->source) || (m->target && !new->target) || (m->where && !new->where) ? -ENOMEM : 0;
}

/* -- reading --------------------------------------------------------------------------------------------------------- */

static int add_table(MountList *l, const char *text, size_t size, const char *name, const char *where) {
        struct libmnt_table *table = mnt_new_table();
        struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
        struct libmnt_fs *fs;
        int r = table && iter ? 0 : -ENOMEM;
        FILE *f = r == 0 && size > 0 ? fmemopen((char *) text, size, "r") : NULL;

        if (r == 0 && size > 0 && !f)
                r = -ENOMEM;

        if (f && mnt_table_parse_stream(table, f, name) < 0)
                r = -EINVAL;
        while (r == 0 && f && mnt_table_next_fs(table, iter, &fs) == 0) {
                dev_t dev = mnt_fs_get_devno(fs);
                const Mount m = {
                        .source = (char *) mnt_fs_get_srcpath(fs), .target = (char *) mnt_fs_get_target(fs),
                        .where = (char *) where, .major = (unsigned) (dev >> 8 & 0xfff),
                        .minor = (unsigned) ((dev & 0xff) | (dev >> 12 & 0xfff00)),
                        .btrfs = str_equal(mnt_fs_get_fstype(fs), "btrfs"), .zfs = str_equal(mnt_fs_get_fstype(fs), "zfs"),
                        .boot = is_boot_target(mnt_fs_get_target(fs)) && !where,
                };
                r = mount_add(l, &m);
        }
        if (f)
                (void) fclose(f);
        mnt_free_iter(iter);
        mnt_unref_table(table);
        return r;
}

static int add_process(MountList *l, int root, const char *pid, const char *where) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        size_t size;

        if (asprintf(&path, "/proc/%s/mountinfo", pid) < 0)
                return -ENOMEM;
        int r = file_read(root, path, &text, &size);
        /* A process may end while it is looked at; one of another user's namespace is readable to root alone. */
        if (r < 0)
                return r == -ENOMEM ? r : -ENOENT;
        return add_table(l, text, size, path, where);
}

typedef struct Namespaces {
        char **names; /* "mnt:[4026531841]" */
        size_t n;
} Namespaces;

static void namespaces_clear(Namespaces *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->names[i]);
        free(s->names);
}

static bool namespaces_have(const Namespaces *s, const char *name) {
        for (size_t i = 0; i < s->n; i++)
                if (str_equal(s->names[i], name))
                        return true;
        return false;
}

/* Takes the name. */
static int namespaces_add(Namespaces *s, char *name) {
        char **more = reallocarray(s->names, s->n + 1, sizeof *more);

        if (!more) {
                free(name);
                return -ENOMEM;
        }
        s->names = more;
        more[s->n++] = name;
        return 0;
}

/* Only what could be read is done with: when the process has ended meanwhile another one may be in the same namespace. */
static int add_namespace_of(MountList *l, int root, const char *pid, Namespaces *done) {
        _cleanup_free_ char *link = NULL, *name = NULL, *comm_path = NULL, *comm = NULL, *where = NULL;

        if (asprintf(&link, "/proc/%s/ns/mnt", pid) < 0 || asprintf(&comm_path, "/proc/%s/comm", pid) < 0)
                return -ENOMEM;
        if (link_read_name(root, link, &name) < 0 || namespaces_have(done, name))
                return 0;
        (void) attr_read(root, comm_path, &comm);
        if (asprintf(&where, "mount namespace of pid %s %s", pid, comm ? comm : "") < 0)
                return -ENOMEM;
        int r = add_process(l, root, pid, where);
        return r == -ENOENT ? 0 : r < 0 ? r : namespaces_add(done, TAKE_PTR(name));
}

/* One process of each mount namespace but ours. */
static int add_namespaces(MountList *l, int root) {
        _cleanup_closedir_ DIR *d = dir_stream(root, "/proc");
        _cleanup_(namespaces_clear) Namespaces done = {};
        const struct dirent *entry;
        char *own = NULL;
        int r = 0;

        if (link_read_name(root, "/proc/1/ns/mnt", &own) >= 0)
                r = namespaces_add(&done, own);
        while ((entry = dir_next(d, &r)))
                if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
                        r = add_namespace_of(l, root, entry->d_name, &done);
        return r;
}

static int add_swaps(MountList *l, int root) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;

        int r = file_read(root, "/proc/swaps", &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        char *line = strtok_r(text, "\n", &save);
        while ((line = strtok_r(NULL, "\n", &save))) {
                line[strcspn(line, " \t")] = 0;
                const Mount m = { .source = line, .target = (char *) "swap", .swap = true, .boot = true };
                if ((r = mount_add(l, &m)) < 0)
                        return r;
        }
        return 0;
}

static bool has_option(const char *options, const char *wanted) {
        size_t n = strlen(wanted);

        for (const char *s = options; *s; s += strcspn(s, ","), s += *s == ',')
                if (strcspn(s, ",") == n && strncmp(s, wanted, n) == 0)
                        return true;
        return false;
}

/* /etc/fstab has "source target type options", /etc/crypttab "name source key options": either names what the host wants, and
 * without noauto wants at boot. */
static int add_configured(MountList *l, int root, const char *path, unsigned source) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;

        int r = file_read(root, path, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_free_ char *what = NULL, *named = NULL;
                char fields[2][1024], options[1024] = "";
                if (line[strspn(line, " \t")] == '#' || sscanf(line, "%1023s %1023s %*s %1023s", fields[0], fields[1], options) < 2)
                        continue;
                /* fstab(5): a space is \040 there */
                if (asprintf(&what, "%s in %s", fields[!source], path) < 0 || !(named = mnt_unmangle(fields[source])))
                        return -ENOMEM;
                const Mount m = { .source = named, .target = what, .configured = true, .boot = !has_option(options, "noauto") };
                if ((r = mount_add(l, &m)) < 0)
                        return r;
        }
        return 0;
}

static int add_command_line(MountList *l, const char *command_line) {
        _cleanup_free_ char *copy = command_line ? strdup(command_line) : NULL;
        char *save = NULL;

        for (char *word = copy ? strtok_r(copy, " \n", &save) : NULL; word; word = strtok_r(NULL, " \n", &save)) {
                _cleanup_free_ char *what = NULL;
                char *value = strchr(word, '=');
                if (!value || (strncmp(word, "root=", 5) != 0 && strncmp(word, "resume=", 7) != 0))
                        continue;
                if (asprintf(&what, "%s on the kernel's command line", word) < 0)
                        return -ENOMEM;
                const Mount m = { .source = value + 1, .target = what, .configured = true, .boot = true };
                int r = mount_add(l, &m);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* -- what a source names ----------------------------------------------------------------------------------------------- */

/* UUID=x and the like as udev's link; other sources as they are. */
static char *source_path(const char *source) {
        static const char *const tags[][2] = {
                { "UUID=", "by-uuid" },         { "LABEL=", "by-label" },   { "PARTUUID=", "by-partuuid" },
                { "PARTLABEL=", "by-partlabel" }, { "ID=", "by-id" },
        };
        char *path = NULL;

        for (size_t i = 0; i < ELEMENTSOF(tags); i++) {
                size_t n = strlen(tags[i][0]);
                if (strncmp(source, tags[i][0], n) != 0)
                        continue;
                const char *quoted = source + n + (source[n] == '"');
                _cleanup_free_ char *value = strndup(quoted, strcspn(quoted, "\""));
                char name[4096]; /* as udev writes it: "NAS\x20Data" */
                if (!value || blkid_encode_string(value, name, sizeof name) != 0)
                        return NULL;
                return asprintf(&path, "/dev/disk/%s/%s", tags[i][1], name) < 0 ? NULL : path;
        }
        return source[0] == '/' ? strdup(source) : NULL;
}

/* The kernel's name of the block device that a source names: "dm-0"; NULL or "" when it names none. */
static char *source_device(int root, const char *source) {
        _cleanup_free_ char *path = source ? source_path(source) : NULL;

        /* Other paths may lie on a dead network server, and looking at one would hang. */
        return path && strncmp(path, "/dev/", 5) == 0 ? block_name(root, path) : NULL;
}

/* Whoever mounts a file system that needs no device names its source at will, any user a tmpfs or FUSE among them. One on a block
 * device has its number (get_tree_bdev, fs/super.c); a btrfs is on several and has none, and is root's to mount. */
static bool is_device_name(const Mount *m) {
        return m->configured || m->swap || m->btrfs || m->major != 0;
}

typedef struct Matching {
        Disk *disk;
        const MountList *list;
        char **devices; /* source_device of each mount */
} Matching;

/* A namespace usually begins as a copy of ours: what is mounted here as well need not be told twice. */
static bool is_ours_too(const MountList *l, const Mount *m) {
        for (size_t i = 0; m->where && i < l->n; i++) {
                const Mount *o = &l->items[i];
                if (!o->where && !o->configured && o->major == m->major && o->minor == m->minor && str_equal(o->target, m->target))
                        return true;
        }
        return false;
}

static int add_use(Disk *d, const Mount *m, const char *chain) {
        DiskUseKind kind = m->configured ? DISK_USE_CONFIGURED : m->swap ? DISK_USE_SWAP : DISK_USE_MOUNT;

        if (m->where)
                return disk_add_use(d, kind, m->boot, "%s → %s (%s)", chain, m->target, m->where);
        return disk_add_use(d, kind, m->boot, "%s → %s", chain, m->target);
}

static int visit(void *userdata, const BlockNode *node, const char *chain, bool held) {
        const Matching *matching = userdata;

        (void) held;
        for (size_t i = 0; i < matching->list->n; i++) {
                const Mount *m = &matching->list->items[i];
                bool number = (m->major || m->minor) && m->major == node->major && m->minor == node->minor;
                if ((!number && !str_equal(matching->devices[i], node->name)) || is_ours_too(matching->list, m))
                        continue;
                int r = add_use(matching->disk, m, chain);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A mounted btrfs is on all of its devices. */
static int use_pool_name(const BlockMap *map, char **device) {
        for (size_t i = 0; *device && i < map->n; i++) {
                if (map->nodes[i].use != DISK_USE_BTRFS || !block_node_stands_on(&map->nodes[i], *device))
                        continue;
                free(*device);
                *device = strdup(map->nodes[i].name);
                return *device ? 0 : -ENOMEM;
        }
        return 0;
}

static int match_all(Host *h, int root, const MountList *l) {
        _cleanup_(block_map_clear) BlockMap map = {};
        char **devices = calloc(l->n + 1, sizeof *devices);

        if (!devices)
                return -ENOMEM;
        for (size_t i = 0; i < l->n; i++)
                devices[i] = is_device_name(&l->items[i]) ? source_device(root, l->items[i].source) : NULL;
        int r = block_map_read(root, &map);
        for (size_t i = 0; r >= 0 && i < l->n; i++)
                if (l->items[i].btrfs)
                        r = use_pool_name(&map, &devices[i]);
        for (size_t i = 0; r >= 0 && i < h->n_disks; i++) {
                Matching matching = { &h->disks[i], l, devices };
                r = block_walk(&map, root, h->disks[i].name, visit, &matching);
        }
        for (size_t i = 0; i < l->n; i++)
                free(devices[i]);
        free(devices);
        return r;
}

static bool names_uuid(const Mount *m, const char *uuid) {
        if (!m->configured || !m->source || !uuid || strncmp(m->source, "UUID=", 5) != 0)
                return false;
        const char *value = m->source + 5 + (m->source[5] == '"');
        size_t n = strcspn(value, "\"");
        return n == strlen(uuid) && strncmp(value, uuid, n) == 0;
}

/* udev's link by-uuid leads to one device of a file system on several, and a recording has no links. */
static int match_uuids(Host *h, const MountList *l) {
        int r = 0;

        for (size_t i = 0; i < h->n_disks; i++)
                for (size_t j = 0; j < h->disks[i].n_signatures; j++) {
                        const DiskSignature *s = &h->disks[i].signatures[j];
                        for (size_t k = 0; r >= 0 && k < l->n; k++)
                                if (names_uuid(&l->items[k], s->uuid))
                                        r = add_use(&h->disks[i], &l->items[k], s->where);
                }
        return r;
}

/* -- ZFS ------------------------------------------------------------------------------------------------------------- */

/* The names come from disks. */
static bool pool_is_imported(int root, const char *pool) {
        _cleanup_free_ char *path = NULL;

        if (!pool || *pool == '.' || strchr(pool, '/') || asprintf(&path, "/proc/spl/kstat/zfs/%s", pool) < 0)
                return false;
        /* Files there are no pools but statistics (module/zfs/spa_stats.c). */
        _cleanup_close_ int dir = dir_open(root, path);
        return dir >= 0;
}

static bool is_of_pool(const Mount *m, const char *pool) {
        size_t n = strlen(pool);

        return m->zfs && m->source && strncmp(m->source, pool, n) == 0 && (m->source[n] == '/' || !m->source[n]);
}

static int add_pool(Disk *d, const MountList *l, const DiskSignature *s) {
        _cleanup_free_ char *chain = NULL;

        if (asprintf(&chain, "%s → ZFS pool %s", s->where, s->label) < 0)
                return -ENOMEM;
        int r = disk_add_use(d, DISK_USE_ZFS, false, "%s", chain);
        for (size_t i = 0; r >= 0 && i < l->n; i++)
                if (is_of_pool(&l->items[i], s->label) && !is_ours_too(l, &l->items[i]))
                        r = add_use(d, &l->items[i], chain);
        return r;
}

/* The kernel's ZFS has neither holder links nor device numbers in mountinfo. It opens its disks exclusively
 * (module/os/linux/zfs/vdev_disk.c): one that could be opened has a pool of the same name from elsewhere. */
static int match_pools(Host *h, int root, const MountList *l) {
        int r = 0;

        for (size_t i = 0; i < h->n_disks; i++) {
                Disk *d = &h->disks[i];
                for (size_t j = 0; r >= 0 && d->exclusive != TRI_YES && j < d->n_signatures; j++)
                        if (str_equal(d->signatures[j].type, "zfs_member") && pool_is_imported(root, d->signatures[j].label))
                                r = add_pool(d, l, &d->signatures[j]);
        }
        return r;
}

int probe_mounts(Host *h, int root, bool live, Error **e) {
        _cleanup_(mount_list_clear) MountList l = {};
        const char *own = live || file_exists(root, "/proc/1/mountinfo") ? "1" : "self";

        int r = add_process(&l, root, own, NULL);
        h->uses_known = r >= 0;
        if (r == -ENOENT)
                r = 0;
        if (r >= 0)
                r = add_namespaces(&l, root);
        if (r >= 0)
                r = add_swaps(&l, root);
        if (r >= 0)
                r = add_configured(&l, root, "/etc/fstab", 0);
        if (r >= 0)
                r = add_configured(&l, root, "/etc/crypttab", 1);
        if (r >= 0)
                r = add_command_line(&l, h->command_line);
        if (r >= 0)
                r = match_all(h, root, &l);
        if (r >= 0)
                r = match_uuids(h, &l);
        if (r >= 0)
                r = match_pools(h, root, &l);
        return r < 0 ? error_set(e, -r, "the mounts and swap areas cannot be read: %s", strerror(-r)) : 0;
}
