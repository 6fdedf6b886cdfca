/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/block-map.h"

#include <errno.h>
#include <stdarg.h>

#include "base/file.h"
#include "base/text.h"

/* Deeper stacks than this are a loop in a bad recording. */
#define DEPTH_MAX 16

void block_map_clear(BlockMap *m) {
        for (size_t i = 0; i < m->n; i++) {
                free(m->nodes[i].name);
                free(m->nodes[i].path);
                free(m->nodes[i].whole);
        }
        free(m->nodes);
        *m = (BlockMap){};
}

const BlockNode *block_map_find(const BlockMap *m, const char *name) {
        for (size_t i = 0; i < m->n; i++)
                if (str_equal(m->nodes[i].name, name))
                        return &m->nodes[i];
        return NULL;
}

static char *parent_name(const char *path) {
        const char *end = strrchr(path, '/');
        const char *begin = end;

        while (begin && begin > path && begin[-1] != '/')
                begin--;
        return begin ? strndup(begin, (size_t) (end - begin)) : NULL;
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
        BlockNode *more = reallocarray(m->nodes, m->n + 1, sizeof *more);
        if (!more || !node.name) {
                m->nodes = more ? more : m->nodes;
                free(node.name);
                free(node.path);
                free(node.whole);
                return -ENOMEM;
        }
        m->nodes = more;
        more[m->n++] = node;
        return 0;
}

int block_map_read(int root, BlockMap *ret) {
        _cleanup_closedir_ DIR *d = dir_stream(root, "/sys/class/block");
        const struct dirent *entry;
        BlockMap m = {};
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while (r >= 0 && (entry = readdir(d)))
                if (entry->d_name[0] != '.')
                        r = read_node(&m, root, entry->d_name);
        if (r < 0) {
                block_map_clear(&m);
                return r;
        }
        *ret = m;
        return 0;
}

static int walk_node(const BlockMap *m, int root, const BlockNode *node, const char *chain, unsigned depth, BlockVisitor visit,
                     void *userdata) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;

        int r = visit(userdata, node, chain, depth > 0);
        if (r < 0 || depth >= DEPTH_MAX)
                return r;
        if (asprintf(&path, "%s/holders", node->path) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        if (!d && errno != ENOENT)
                return -errno;
        while (d && r >= 0 && (entry = readdir(d))) {
                _cleanup_free_ char *longer = NULL;
                const BlockNode *holder = entry->d_name[0] == '.' ? NULL : block_map_find(m, entry->d_name);
                if (!holder)
                        continue;
                if (asprintf(&longer, "%s → %s", chain, holder->name) < 0)
                        return -ENOMEM;
                r = walk_node(m, root, holder, longer, depth + 1, visit, userdata);
        }
        return r;
}

int block_walk(const BlockMap *m, int root, const char *disk, BlockVisitor visit, void *userdata) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < m->n; i++)
                if (str_equal(m->nodes[i].name, disk) || str_equal(m->nodes[i].whole, disk))
                        r = walk_node(m, root, &m->nodes[i], m->nodes[i].name, 0, visit, userdata);
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
