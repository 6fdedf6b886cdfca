/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/block-map.h"

#include <errno.h>
#include <stdarg.h>

#include "base/file.h"
#include "base/text.h"

/* Deeper stacks than this are a loop in a bad recording. */
#define DEPTH_MAX 16
/* Of one disk; more is one that branches at each level. */
#define VISITS_MAX 10000

static void free_node(BlockNode *node) {
        free(node->name);
        free(node->title);
        free(node->path);
        free(node->whole);
        for (size_t i = 0; i < node->n_below; i++)
                free(node->below[i]);
        free(node->below);
}

void block_map_clear(BlockMap *m) {
        for (size_t i = 0; i < m->n; i++)
                free_node(&m->nodes[i]);
        free(m->nodes);
        *m = (BlockMap){};
}

const BlockNode *block_map_find(const BlockMap *m, const char *name) {
        for (size_t i = 0; i < m->n; i++)
                if (str_equal(m->nodes[i].name, name))
                        return &m->nodes[i];
        return NULL;
}

bool block_node_stands_on(const BlockNode *node, const char *name) {
        for (size_t i = 0; i < node->n_below; i++)
                if (str_equal(node->below[i], name))
                        return true;
        return false;
}

/* -- reading --------------------------------------------------------------------------------------------------------- */

static char *parent_name(const char *path) {
        const char *end = strrchr(path, '/');
        const char *begin = end;

        while (begin && begin > path && begin[-1] != '/')
                begin--;
        return begin ? strndup(begin, (size_t) (end - begin)) : NULL;
}

static int map_add(BlockMap *m, BlockNode *node) {
        BlockNode *more = node->name && node->path ? reallocarray(m->nodes, m->n + 1, sizeof *more) : NULL;

        if (!more) {
                free_node(node);
                return -ENOMEM;
        }
        text_clean(node->title);
        m->nodes = more;
        more[m->n++] = *node;
        return 0;
}

static int node_stand_on(BlockNode *node, char *device) {
        char **more = device ? reallocarray(node->below, node->n_below + 1, sizeof *more) : NULL;

        if (!more) {
                free(device);
                return -ENOMEM;
        }
        node->below = more;
        more[node->n_below++] = device;
        return 0;
}

/* The prefix of the UUID tells whose mapping it is: lib/activate/dev_manager.c of LVM, lib/libdevmapper.c of cryptsetup,
 * libmultipath/devmapper.c of multipath-tools. */
static void read_mapping(BlockNode *node, int dir) {
        static const struct {
                const char *prefix;
                DiskUseKind use;
        } owners[] = { { "LVM-", DISK_USE_LVM }, { "CRYPT-", DISK_USE_CRYPT }, { "mpath-", DISK_USE_MULTIPATH } };
        _cleanup_free_ char *uuid = NULL, *name = NULL;

        node->use = DISK_USE_DM;
        if (attr_read(dir, "dm/uuid", &uuid) >= 0)
                for (size_t i = 0; i < ELEMENTSOF(owners); i++)
                        if (strncmp(uuid, owners[i].prefix, strlen(owners[i].prefix)) == 0)
                                node->use = owners[i].use;
        if (attr_read(dir, "dm/name", &name) >= 0 &&
            asprintf(&node->title, "%s (%s %s)", node->name, disk_use_kind_to_string(node->use), name) < 0)
                node->title = NULL;
}

/* drivers/md/md.c: an array that is only assembled, or lacks members, is "inactive" or "clear", and has its members all the
 * same. */
static void read_array(BlockNode *node, int dir) {
        _cleanup_free_ char *state = NULL;

        node->use = DISK_USE_MD;
        if (attr_read(dir, "md/array_state", &state) >= 0 && (str_equal(state, "inactive") || str_equal(state, "clear")) &&
            asprintf(&node->title, "%s (inactive)", node->name) < 0)
                node->title = NULL;
}

/* drivers/block/loop.c keeps the backing file open after losetup has ended, and claims it only for a moment. Another file than
 * a device may lie on a dead network server, and looking at it would hang. */
static int read_loop(BlockNode *node, int root, int dir) {
        _cleanup_free_ char *file = NULL;

        node->use = DISK_USE_LOOP;
        if (attr_read(dir, "loop/backing_file", &file) < 0 || strncmp(file, "/dev/", 5) != 0)
                return 0;
        return node_stand_on(node, block_name(root, file));
}

static int read_stack(BlockNode *node, int root, int dir) {
        node->use = DISK_USE_HOLDER;
        if (strncmp(node->name, "dm-", 3) == 0)
                read_mapping(node, dir);
        else if (strncmp(node->name, "bcache", 6) == 0)
                node->use = DISK_USE_BCACHE;
        else if (file_exists(dir, "md"))
                read_array(node, dir);
        else if (strncmp(node->name, "loop", 4) == 0)
                return read_loop(node, root, dir);
        return 0;
}

static int read_node(BlockMap *m, int root, const char *name) {
        _cleanup_free_ char *link = NULL, *dev = NULL, *partition = NULL;
        BlockNode node = {};

        if (asprintf(&link, "/sys/class/block/%s", name) < 0)
                return -ENOMEM;
        /* One that is left out for any other reason than being gone would be missing for every check and every hold. */
        int r = path_resolve(root, link, &node.path);
        if (r < 0)
                return r == -ENOENT || r == -ENODEV ? 0 : r;
        _cleanup_close_ int dir = dir_open(root, link);
        node.name = strdup(name);
        if (attr_read(dir, "dev", &dev) >= 0)
                (void) sscanf(dev, "%u:%u", &node.major, &node.minor);
        if (attr_read(dir, "partition", &partition) >= 0)
                node.whole = parent_name(node.path);
        if (node.name && (r = read_stack(&node, root, dir)) < 0) {
                free_node(&node);
                return r;
        }
        return map_add(m, &node);
}

/* fs/btrfs/sysfs.c: a folder for each mounted file system, with a link for each of its devices. */
static int read_btrfs(BlockMap *m, int root, const char *uuid) {
        _cleanup_free_ char *path = NULL, *devices = NULL, *label_path = NULL, *label = NULL;
        BlockNode node = { .use = DISK_USE_BTRFS };
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&path, "/sys/fs/btrfs/%s", uuid) < 0 || asprintf(&devices, "%s/devices", path) < 0 ||
            asprintf(&label_path, "%s/label", path) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, devices);
        if (!d)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        while ((entry = dir_next(d, &r)))
                if (entry->d_name[0] != '.')
                        r = node_stand_on(&node, strdup(entry->d_name));
        (void) attr_read(root, label_path, &label);
        node.path = TAKE_PTR(path);
        node.name = strdup(uuid);
        if (r < 0 || asprintf(&node.title, "btrfs %s", label && *label ? label : uuid) < 0) {
                free_node(&node);
                return r < 0 ? r : -ENOMEM;
        }
        return map_add(m, &node);
}

static int read_each(BlockMap *m, int root, const char *path, int (*each)(BlockMap *m, int root, const char *name)) {
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        const struct dirent *entry;
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = dir_next(d, &r)))
                if (entry->d_name[0] != '.')
                        r = each(m, root, entry->d_name);
        return r;
}

int block_map_read(int root, BlockMap *ret) {
        BlockMap m = {};

        int r = read_each(&m, root, "/sys/class/block", read_node);
        if (r >= 0)
                r = read_each(&m, root, "/sys/fs/btrfs", read_btrfs);
        if (r < 0) {
                block_map_clear(&m);
                return r;
        }
        *ret = m;
        return 0;
}

typedef struct Walk {
        const BlockMap *map;
        int root;
        BlockVisitor visit;
        void *userdata;
        size_t visits;
} Walk;

static int walk_node(Walk *w, const BlockNode *node, const char *chain, unsigned depth);

static int walk_up(Walk *w, const BlockNode *holder, const char *chain, unsigned depth) {
        _cleanup_free_ char *longer = NULL;

        if (asprintf(&longer, "%s → %s", chain, holder->title ? holder->title : holder->name) < 0)
                return -ENOMEM;
        return walk_node(w, holder, longer, depth + 1);
}

static int walk_holders(Walk *w, const BlockNode *node, const char *chain, unsigned depth) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&path, "%s/holders", node->path) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(w->root, path);
        if (!d && errno != ENOENT)
                return -errno;
        while ((entry = dir_next(d, &r))) {
                const BlockNode *holder = entry->d_name[0] == '.' ? NULL : block_map_find(w->map, entry->d_name);
                if (holder)
                        r = walk_up(w, holder, chain, depth);
        }
        return r;
}

static int walk_node(Walk *w, const BlockNode *node, const char *chain, unsigned depth) {
        if (w->visits++ >= VISITS_MAX)
                return -ELOOP;
        int r = w->visit(w->userdata, node, chain, depth > 0);
        if (r < 0 || depth >= DEPTH_MAX)
                return r;
        r = walk_holders(w, node, chain, depth);
        for (size_t i = 0; r >= 0 && i < w->map->n; i++) {
                const BlockNode *other = &w->map->nodes[i];
                /* The walk begins at each partition of the disk itself. */
                bool part = depth > 0 && str_equal(other->whole, node->name);
                if (part || block_node_stands_on(other, node->name))
                        r = walk_up(w, other, chain, depth);
        }
        return r;
}

int block_walk(const BlockMap *m, int root, const char *disk, BlockVisitor visit, void *userdata) {
        Walk w = { .map = m, .root = root, .visit = visit, .userdata = userdata };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < m->n; i++)
                if (str_equal(m->nodes[i].name, disk) || str_equal(m->nodes[i].whole, disk))
                        r = walk_node(&w, &m->nodes[i], m->nodes[i].name, 0);
        return r;
}

int disk_add_use(Disk *d, DiskUseKind kind, bool boot, const char *format, ...) {
        _cleanup_free_ char *chain = NULL;
        va_list ap;

        va_start(ap, format);
        int r = vasprintf(&chain, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        text_clean(chain);
        for (size_t i = 0; i < d->n_uses; i++)
                if (d->uses[i].kind == kind && str_equal(d->uses[i].chain, chain)) {
                        d->uses[i].boot |= boot;
                        return 0;
                }
        DiskUse *more = reallocarray(d->uses, d->n_uses + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        d->uses = more;
        more[d->n_uses++] = (DiskUse){ .kind = kind, .boot = boot, .chain = TAKE_PTR(chain) };
        return 0;
}

int disk_add_signature(Disk *d, DiskSignature *s) {
        DiskSignature *more = s->where && s->type ? reallocarray(d->signatures, d->n_signatures + 1, sizeof *more) : NULL;

        if (!more) {
                disk_signature_clear(s);
                return -ENOMEM;
        }
        d->signatures = more;
        more[d->n_signatures++] = *s;
        return 0;
}

/* -- users by path ----------------------------------------------------------------------------------------------------- */

typedef struct User {
        Disk *disk;
        const char *device; /* kernel name */
        DiskUseKind kind;
        const char *name;
} User;

static int visit_user(void *userdata, const BlockNode *node, const char *chain, bool held) {
        const User *u = userdata;

        (void) held;
        return str_equal(node->name, u->device) ? disk_add_use(u->disk, u->kind, false, "%s → %s", chain, u->name) : 0;
}

char *block_name(int root, const char *path) {
        _cleanup_free_ char *resolved = NULL;

        /* A recording has no nodes; then the name counts. */
        if (path_resolve(root, path, &resolved) < 0 && !(resolved = strdup(path)))
                return NULL;
        if (strncmp(resolved, "/dev/", 5) != 0)
                return strdup("");
        /* /dev/cciss/c0d0 is cciss!c0d0 */
        for (char *p = resolved + 5; *p; p++)
                if (*p == '/')
                        *p = '!';
        return strdup(resolved + 5);
}

int block_add_user(Host *h, int root, const BlockMap *m, const char *source, DiskUseKind kind, const char *name) {
        _cleanup_free_ char *device = block_name(root, source);
        int r = device ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && *device && i < h->n_disks; i++) {
                User u = { &h->disks[i], device, kind, name };
                r = block_walk(m, root, h->disks[i].name, visit_user, &u);
        }
        return r;
}
