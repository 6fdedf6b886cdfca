/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Targets inside the kernel: NVMe (drivers/nvme/target/io-cmd-bdev.c opens without a holder) and SCSI
 * (drivers/target/target_core_iblock.c claims it, target_core_file.c does not). No holder link or process shows them.
 */
#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/block-map.h"
#include "probe/probe.h"

#define NVMET "/sys/kernel/config/nvmet/subsystems"
#define LIO "/sys/kernel/config/target/core"

typedef struct Exports {
        Host *host;
        int root;
        BlockMap map;
} Exports;

static int add_target(Exports *x, const char *source, const char *kind, const char *name) {
        _cleanup_free_ char *user = NULL;

        if (asprintf(&user, "%s %s", kind, name) < 0)
                return -ENOMEM;
        text_clean(user);
        return block_add_user(x->host, x->root, &x->map, source, DISK_USE_TARGET, user);
}

/* Calls `each` for every folder in `path`. */
static int for_each_folder(Exports *x, const char *path, int (*each)(Exports *x, const char *path, const char *name)) {
        _cleanup_closedir_ DIR *d = dir_stream(x->root, path);
        const struct dirent *entry;
        int r = 0;

        if (!d)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        while ((entry = dir_next(d, &r))) {
                _cleanup_free_ char *below = NULL;
                if (entry->d_name[0] == '.')
                        continue;
                if (asprintf(&below, "%s/%s", path, entry->d_name) < 0)
                        return -ENOMEM;
                r = each(x, below, entry->d_name);
        }
        return r;
}

/* .../subsystems/NQN/namespaces/1 */
static int add_namespace(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *file = NULL, *enable = NULL, *value = NULL, *source = NULL, *subsystem = NULL;
        const char *nqn = path + strlen(NVMET "/");

        (void) name;
        if (asprintf(&file, "%s/device_path", path) < 0 || asprintf(&enable, "%s/enable", path) < 0 ||
            !(subsystem = strndup(nqn, strcspn(nqn, "/"))))
                return -ENOMEM;
        if (attr_read(x->root, enable, &value) < 0 || str_equal(value, "0") || attr_read(x->root, file, &source) < 0)
                return 0;
        return add_target(x, source, "NVMe target", subsystem);
}

/* All disks of an NVMe controller, named by its own node: "/dev/nvme0". */
static int add_controller(Exports *x, const char *source, const char *nqn) {
        _cleanup_free_ char *link = NULL, *path = NULL;
        const char *slash = strrchr(source, '/');
        PciAddress controller;
        int r = 0;

        if (asprintf(&link, "/sys/class/nvme/%s", slash ? slash + 1 : source) < 0)
                return -ENOMEM;
        if (path_resolve(x->root, link, &path) < 0 || !controller_of_path(path, &controller))
                return 0;
        for (size_t i = 0; r >= 0 && i < x->host->n_disks; i++)
                if (pci_address_equal(&x->host->disks[i].controller, &controller))
                        r = disk_add_use(&x->host->disks[i], DISK_USE_TARGET, false, "%s → NVMe target %s", x->host->disks[i].name, nqn);
        return r;
}

/* .../subsystems/NQN/passthru exports a controller whole, without opening its disks (drivers/nvme/target/passthru.c). */
static int add_whole(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *file = NULL, *enable = NULL, *value = NULL, *source = NULL, *nqn = strdup(name);

        if (!nqn || asprintf(&file, "%s/passthru/device_path", path) < 0 || asprintf(&enable, "%s/passthru/enable", path) < 0)
                return -ENOMEM;
        text_clean(nqn);
        if (attr_read(x->root, enable, &value) < 0 || str_equal(value, "0") || attr_read(x->root, file, &source) < 0)
                return 0;
        return add_controller(x, source, nqn);
}

static int add_subsystem(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *namespaces = NULL;

        if (asprintf(&namespaces, "%s/namespaces", path) < 0)
                return -ENOMEM;
        int r = for_each_folder(x, namespaces, add_namespace);
        return r < 0 ? r : add_whole(x, path, name);
}

/* "UDEV PATH: /dev/sdb  readonly: 0" (target_core_iblock.c), "File: /dev/sdb  Size: 1024" (target_core_file.c) */
static char *path_in_info(const char *info) {
        static const char *const marks[] = { "UDEV PATH: ", "File: " };

        for (size_t i = 0; i < ELEMENTSOF(marks); i++) {
                const char *found = strstr(info, marks[i]);
                if (!found)
                        continue;
                found += strlen(marks[i]);
                return strndup(found, strcspn(found, " \n"));
        }
        return NULL;
}

/* udev_path is what the tool that made the backstore says of it, or empty; the backstore's own word is in `info`. */
static int add_backstore(Exports *x, const char *path, const char *name) {
        _cleanup_free_ char *file = NULL, *info_file = NULL, *said = NULL, *info = NULL;
        int r = 0;

        if (asprintf(&file, "%s/udev_path", path) < 0 || asprintf(&info_file, "%s/info", path) < 0)
                return -ENOMEM;
        if (attr_read(x->root, file, &said) >= 0)
                r = add_target(x, said, "SCSI target", name);
        if (r < 0 || file_read(x->root, info_file, &info, NULL) < 0)
                return r;
        _cleanup_free_ char *source = path_in_info(info);
        return source ? add_target(x, source, "SCSI target", name) : 0;
}

static int add_hba(Exports *x, const char *path, const char *name) {
        (void) name;
        return for_each_folder(x, path, add_backstore);
}

int probe_exports(Host *h, int root, Error **e) {
        Exports x = { .host = h, .root = root };

        int r = block_map_read(root, &x.map);
        if (r >= 0)
                r = for_each_folder(&x, NVMET, add_subsystem);
        if (r >= 0)
                r = for_each_folder(&x, LIO, add_hba);
        block_map_clear(&x.map);
        return r < 0 ? error_set(e, -r, "the storage targets cannot be read: %s", strerror(-r)) : 0;
}
