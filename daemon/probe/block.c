/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole disks behind PCI functions, and what the kernel has put on top of them. */
#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/block-map.h"
#include "probe/probe.h"

bool controller_of_path(const char *path, PciAddress *ret) {
        _cleanup_free_ char *copy = strdup(path);
        char *save = NULL;
        bool found = false;
        PciAddress a;

        for (char *part = copy ? strtok_r(copy, "/", &save) : NULL; part; part = strtok_r(NULL, "/", &save))
                if (pci_address_parse(part, &a) >= 0) {
                        *ret = a;
                        found = true;
                }
        return found;
}

static void trimmed(char **ret, const char *s) {
        size_t n;

        if (!s || *ret)
                return;
        s += strspn(s, " \t");
        n = strlen(s);
        while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
                n--;
        if (n > 0)
                text_clean(*ret = strndup(s, n));
}

static void read_attr(int root, const BlockNode *node, const char *name, char **ret) {
        _cleanup_free_ char *path = NULL, *value = NULL;

        if (asprintf(&path, "%s/%s", node->path, name) >= 0 && attr_read(root, path, &value) >= 0)
                trimmed(ret, value);
}

/* One property of udev's database, which is a text file under any root. */
static void read_property(char **ret, const char *database, const char *key) {
        _cleanup_free_ char *needle = NULL, *value = NULL;

        if (!database || asprintf(&needle, "\nE:%s=", key) < 0)
                return;
        const char *found = strstr(database, needle);
        if (!found)
                return;
        found += strlen(needle);
        value = strndup(found, strcspn(found, "\n"));
        trimmed(ret, value);
}

/* SCSI Primary Commands 4, section 7.8.18 (unit serial number page): four bytes of header, then text. */
static void read_vpd_serial(int root, const BlockNode *node, char **ret) {
        _cleanup_free_ char *path = NULL, *page = NULL;
        size_t size;

        if (*ret || asprintf(&path, "%s/device/vpd_pg80", node->path) < 0 || file_read(root, path, &page, &size) < 0 || size < 5)
                return;
        trimmed(ret, page + 4);
}

static char *read_database(int root, const BlockNode *node) {
        _cleanup_free_ char *path = NULL;
        char *database = NULL;

        if (asprintf(&path, "/run/udev/data/b%u:%u", node->major, node->minor) >= 0)
                (void) file_read(root, path, &database, NULL);
        return database;
}

/* What udev has read from the disk when it came; no disk is asked, so none is woken. */
static void read_identity(Disk *d, int root, const BlockNode *node, const char *database) {
        read_attr(root, node, "device/serial", &d->serial);
        read_attr(root, node, "serial", &d->serial);
        read_property(&d->serial, database, "ID_SCSI_SERIAL");
        read_property(&d->serial, database, "ID_SERIAL_SHORT");
        read_vpd_serial(root, node, &d->serial);
        read_property(&d->wwn, database, "ID_WWN_WITH_EXTENSION");
        read_property(&d->wwn, database, "ID_WWN");
        read_attr(root, node, "wwid", &d->wwn);
        read_attr(root, node, "device/wwid", &d->wwn);
        read_property(&d->model, database, "ID_MODEL");
        read_attr(root, node, "device/model", &d->model);
}

/* What udev has found on the node when it last looked; libblkid asks the disk itself, see block-live.c. */
static int read_signatures(Disk *d, const char *database, const BlockNode *node) {
        static const char *const kinds[][3] = {
                { "ID_FS_TYPE", "ID_FS_LABEL", "ID_FS_UUID" },
                { "ID_PART_TABLE_TYPE", NULL, "ID_PART_TABLE_UUID" },
        };

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                DiskSignature s = {};
                read_property(&s.type, database, kinds[i][0]);
                if (!s.type)
                        continue;
                if (kinds[i][1])
                        read_property(&s.label, database, kinds[i][1]);
                read_property(&s.uuid, database, kinds[i][2]);
                s.where = strdup(node->name);
                int r = disk_add_signature(d, &s);
                if (r < 0)
                        return r;
        }
        return 0;
}

typedef struct Reading {
        Disk *disk;
        int root;
} Reading;

/* drivers/md/bcache/super.c: a registered device is claimed and has a folder of this name; a backing device shows in `holders`
 * only once its bcacheN runs, a cache device never. */
static int add_bcache(const Reading *reading, const BlockNode *node, const char *chain) {
        _cleanup_free_ char *folder = NULL, *runs = NULL, *device = NULL;

        if (asprintf(&folder, "%s/bcache", node->path) < 0 || asprintf(&runs, "%s/bcache/dev", node->path) < 0)
                return -ENOMEM;
        if (!file_exists(reading->root, folder) || link_read_name(reading->root, runs, &device) >= 0)
                return 0;
        return disk_add_use(reading->disk, DISK_USE_BCACHE, false, "%s → bcache", chain);
}

static int visit_stack(void *userdata, const BlockNode *node, const char *chain, bool held) {
        const Reading *reading = userdata;
        int r = 0;

        if (!held) {
                _cleanup_free_ char *database = read_database(reading->root, node);
                reading->disk->signatures_known &= database != NULL;
                r = read_signatures(reading->disk, database, node);
        } else if (!node->whole) {
                r = disk_add_use(reading->disk, node->use, false, "%s", chain);
        }
        return r < 0 ? r : add_bcache(reading, node, chain);
}

static int add_disk(Host *h, int root, const BlockMap *m, const BlockNode *node, const PciAddress *controller) {
        _cleanup_free_ char *size_path = NULL, *database = read_database(root, node);
        unsigned long long sectors = 0;
        Disk d = { .controller = *controller, .exclusive = TRI_UNKNOWN, .healthy = TRI_UNKNOWN, .signatures_known = true };
        Reading reading = { &d, root };

        if (asprintf(&size_path, "%s/size", node->path) < 0)
                return -ENOMEM;
        (void) attr_read_u64(root, size_path, &sectors);
        d.size = sectors * 512; /* always 512-byte units: Documentation/ABI/stable/sysfs-block */
        d.name = strdup(node->name);
        read_identity(&d, root, node, database);
        int r = d.name ? block_walk(m, root, node->name, visit_stack, &reading) : -ENOMEM;
        Disk *more = r < 0 ? NULL : reallocarray(h->disks, h->n_disks + 1, sizeof *more);
        if (!more) {
                disk_clear(&d);
                return r < 0 ? r : -ENOMEM;
        }
        h->disks = more;
        more[h->n_disks++] = d;
        return 0;
}

/* The head of a multipath NVMe subsystem is a virtual device; its paths name the controllers (drivers/nvme/host/multipath.c).
 * It is a disk of each of them. */
static int add_head(Host *h, int root, const BlockMap *m, const BlockNode *node) {
        const char *slash = strrchr(node->path, '/');
        const struct dirent *entry;
        int r = 0;

        if (!slash || !strstr(node->path, "/nvme-subsystem/"))
                return 0;
        _cleanup_free_ char *subsystem = strndup(node->path, (size_t) (slash - node->path));
        _cleanup_closedir_ DIR *d = subsystem ? dir_stream(root, subsystem) : NULL;
        if (!d)
                return subsystem ? -errno : -ENOMEM;
        while ((entry = dir_next(d, &r))) {
                _cleanup_free_ char *link = NULL, *resolved = NULL;
                PciAddress controller;
                if (strncmp(entry->d_name, "nvme", 4) != 0)
                        continue;
                if (asprintf(&link, "/sys/class/nvme/%s", entry->d_name) < 0)
                        return -ENOMEM;
                /* Namespaces have such names too; a controller over a network has no PCI function. */
                if (path_resolve(root, link, &resolved) >= 0 && controller_of_path(resolved, &controller))
                        r = add_disk(h, root, m, node, &controller);
        }
        return r;
}

static int read_disks(Host *h, int root, const BlockMap *m) {
        for (size_t i = 0; i < m->n; i++) {
                const BlockNode *node = &m->nodes[i];
                PciAddress controller;
                if (node->whole)
                        continue;
                /* nvme0c0n1 is one path of a multipath head, without a node of its own */
                if (node->major == 0 && node->minor == 0 && strncmp(node->name, "nvme", 4) == 0 && strchr(node->name + 4, 'c'))
                        continue;
                int r = controller_of_path(node->path, &controller) ? add_disk(h, root, m, node, &controller)
                                                                    : add_head(h, root, m, node);
                if (r < 0)
                        return r;
        }
        return 0;
}

int probe_block(Host *h, int root, Error **e) {
        _cleanup_(block_map_clear) BlockMap m = {};

        int r = block_map_read(root, &m);
        if (r >= 0)
                r = read_disks(h, root, &m);
        return r < 0 ? error_set(e, -r, "the disks cannot be read: %s", strerror(-r)) : 0;
}
