/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Users inside the kernel that claim nothing: loop devices (drivers/block/loop.c keeps the file open after losetup has ended),
 * NVMe targets (drivers/nvme/target/io-cmd-bdev.c opens without a holder) and SCSI targets with a file backend
 * (drivers/target/target_core_file.c). No exclusive open, holder link or process shows them.
 */
#include <errno.h>

#include "base/file.h"
#include "probe/block-map.h"
#include "probe/probe.h"

#define NVMET "/sys/kernel/config/nvmet/subsystems"
#define LIO "/sys/kernel/config/target/core"

typedef struct Exports {
        Host *host;
        int root;
        BlockMap map;
} Exports;

static int add_file(Exports *x, const char *file, const char *user) {
        _cleanup_free_ char *source = NULL;

        int r = attr_read(x->root, file, &source);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        return block_add_user(x->host, x->root, &x->map, source, DISK_USE_HOLDER, user);
}

static int add_loops(Exports *x) {
        for (size_t i = 0; i < x->map.n; i++) {
                const BlockNode *node = &x->map.nodes[i];
                _cleanup_free_ char *file = NULL;
                if (node->whole || strncmp(node->name, "loop", 4) != 0)
                        continue;
                if (asprintf(&file, "%s/loop/backing_file", node->path) < 0)
                        return -ENOMEM;
                int r = add_file(x, file, node->name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Calls `each` for every folder in `path`. */
static int for_each_folder(Exports *x, const char *path, int (*each)(Exports *x, const char *path, const char *name)) {
        _cleanup_closedir_ DIR *d = dir_stream(x->root, path);
        const struct dirent *entry;
        int r = 0;

        if (!d)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        while (r >= 0 && (entry = readdir(d))) {
                _cleanup_free_ char *below = NULL;
                if (entry->d_name[0] == '.')
                        continue;
                if (asprintf(&below, "%s/%s", path, entry->d_name) < 0)
                        return -ENOMEM;
                r = each(x, below, entry->d_name);
        }
        return r;
}

static int add_namespace(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *file = NULL, *enable = NULL, *value = NULL;

        (void) name;
        if (asprintf(&file, "%s/device_path", path) < 0 || asprintf(&enable, "%s/enable", path) < 0)
                return -ENOMEM;
        if (attr_read(x->root, enable, &value) < 0 || str_equal(value, "0"))
                return 0;
        return add_file(x, file, "NVMe target");
}

static int add_subsystem(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *namespaces = NULL;

        (void) name;
        return asprintf(&namespaces, "%s/namespaces", path) < 0 ? -ENOMEM : for_each_folder(x, namespaces, add_namespace);
}

static int add_backstore(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *file = NULL;

        (void) name;
        return asprintf(&file, "%s/udev_path", path) < 0 ? -ENOMEM : add_file(x, file, "SCSI target");
}

static int add_hba(Exports *x, const char *path, const char *name) {
        (void) name;
        return for_each_folder(x, path, add_backstore);
}

int probe_exports(Host *h, int root, Error **e) {
        Exports x = { .host = h, .root = root };

        int r = block_map_read(root, &x.map);
        if (r >= 0)
                r = add_loops(&x);
        if (r >= 0)
                r = for_each_folder(&x, NVMET, add_subsystem);
        if (r >= 0)
                r = for_each_folder(&x, LIO, add_hba);
        block_map_clear(&x.map);
        return r < 0 ? error_set(e, -r, "the loop devices and storage targets cannot be read: %s", strerror(-r)) : 0;
}
