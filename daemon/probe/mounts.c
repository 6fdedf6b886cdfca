/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks the mounts, swap areas and the files that configure them stand on. */
#include <blkid.h>
#include <errno.h>

#include "base/file.h"
#include "probe/block-map.h"
#include "probe/mount-list.h"
#include "probe/probe.h"

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

        int r = mount_list_read(&l, root, live, h->command_line, &h->uses_known);
        if (r >= 0)
                r = match_all(h, root, &l);
        if (r >= 0)
                r = match_uuids(h, &l);
        if (r >= 0)
                r = match_pools(h, root, &l);
        return r < 0 ? error_set(e, -r, "the mounts and swap areas cannot be read: %s", strerror(-r)) : 0;
}
