/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/guest-storage.h"

#include <errno.h>
#include <libmount.h>

#include "base/file.h"
#include "probe/block-map.h"
#include "probe/guest-parse.h"

#define POOLS "/etc/libvirt/storage"
#define VHOST "/sys/kernel/config/target/vhost"

/* -- storage pools ----------------------------------------------------------------------------------------------------- */

/* <source><device path='/dev/sdb1'/>...</source>: of a file system, a partition table or a volume group. That of an iSCSI target
 * is a name, of this host's nothing. */
static int add_pool_devices(GuestDrive *d, xmlNodePtr source) {
        int r = 0;

        for (xmlNodePtr n = source ? source->children : NULL; n && r >= 0; n = n->next) {
                _cleanup_free_ char *path = NULL;
                if (n->type != XML_ELEMENT_NODE || !xmlStrEqual(n->name, BAD_CAST "device"))
                        continue;
                path = xml_property(n, "path");
                if (path && *path == '/')
                        r = drive_add_source(d, TAKE_PTR(path));
        }
        return r;
}

int drive_add_pool(GuestDrive *d, const char *xml, const char *path) {
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = xml_parse(xml, "pool");
        xmlNodePtr pool = doc ? xmlDocGetRootElement(doc) : NULL;
        _cleanup_free_ char *target = xml_text(xml_child(xml_child(pool, "target"), "path"));
        char *built = NULL;

        if (!pool)
                return -EINVAL;
        int r = add_pool_devices(d, xml_child(pool, "source"));
        if (r < 0)
                return r;
        if (path)
                return drive_add_source(d, strdup(path));
        /* A pool of another machine's (RBD, iSCSI) has no such place. */
        if (!target || *target != '/' || !d->volume)
                return 0;
        return asprintf(&built, "%s/%s", target, d->volume) < 0 ? -ENOMEM : drive_add_source(d, built);
}

int drive_no_pool(GuestDrive *d, const char *why) {
        free(TAKE_PTR(d->problem));
        return asprintf(&d->problem, "storage pool %s cannot be read: %s", d->pool, why) < 0 ? -ENOMEM : 0;
}

int drive_read_pool(GuestDrive *d, int root) {
        _cleanup_free_ char *file = NULL, *xml = NULL;

        /* The name is the file's: it must not lead elsewhere. */
        if (asprintf(&file, POOLS "/%s.xml", d->pool) < 0)
                return -ENOMEM;
        int r = strchr(d->pool, '/') ? -EINVAL : file_read(root, file, &xml, NULL);
        if (r >= 0)
                r = drive_add_pool(d, xml, NULL);
        return r >= 0 || r == -ENOMEM ? r : drive_no_pool(d, strerror(-r));
}

/* -- SCSI devices ------------------------------------------------------------------------------------------------------ */

static int add_controller(GuestDrive *d, const PciAddress *a) {
        for (size_t i = 0; i < d->n_controllers; i++)
                if (pci_address_equal(&d->controllers[i], a))
                        return 0;
        PciAddress *more = reallocarray(d->controllers, d->n_controllers + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        d->controllers = more;
        more[d->n_controllers++] = *a;
        return 0;
}

/* WWPN/tpgt_1/lun/lun_0/LINK leads to the backstore (drivers/target/target_core_fabric_configfs.c). */
#define BACKSTORE_DEPTH 4

static int add_backstores(GuestDrive *d, int root, const char *folder, unsigned depth) {
        _cleanup_free_ char *file = NULL, *device = NULL;
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&file, "%s/udev_path", folder) < 0)
                return -ENOMEM;
        if (attr_read(root, file, &device) >= 0 && *device == '/')
                return drive_add_source(d, TAKE_PTR(device));
        _cleanup_closedir_ DIR *below = depth > 0 ? dir_stream(root, folder) : NULL;
        while ((entry = dir_next(below, &r))) {
                _cleanup_free_ char *path = NULL;
                if (entry->d_name[0] == '.')
                        continue;
                r = asprintf(&path, "%s/%s", folder, entry->d_name) < 0 ? -ENOMEM : add_backstores(d, root, path, depth - 1);
        }
        return r;
}

static int locate_vhost_target(GuestDrive *d, int root) {
        _cleanup_free_ char *folder = NULL;

        /* The name is a folder's: it must not lead elsewhere. */
        if (strchr(d->name, '/') || d->name[0] == '.')
                return 0;
        return asprintf(&folder, VHOST "/%s", d->name) < 0 ? -ENOMEM : add_backstores(d, root, folder, BACKSTORE_DEPTH);
}

/* A tape or an enclosure has no block device, and still hangs on the controller. */
static int locate_scsi_device(GuestDrive *d, int root) {
        _cleanup_free_ char *host = NULL, *folder = NULL, *resolved = NULL;
        unsigned adapter, bus, target;
        unsigned long unit;
        PciAddress a;

        if (sscanf(d->name, "scsi_host%u:%u:%u:%lu", &adapter, &bus, &target, &unit) != 4)
                return locate_vhost_target(d, root);
        if (asprintf(&host, "/sys/class/scsi_host/host%u", adapter) < 0 ||
            asprintf(&folder, "/sys/class/scsi_device/%u:%u:%u:%lu/device/block", adapter, bus, target, unit) < 0)
                return -ENOMEM;
        if (path_resolve(root, host, &resolved) >= 0 && controller_of_path(resolved, &a) && add_controller(d, &a) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *blocks = dir_stream(root, folder);
        const struct dirent *entry;
        int r = 0;
        while ((entry = dir_next(blocks, &r))) {
                char *path = NULL;
                if (entry->d_name[0] == '.')
                        continue;
                r = asprintf(&path, "/dev/%s", entry->d_name) < 0 ? -ENOMEM : drive_add_source(d, path);
        }
        return r;
}

/* -- files ------------------------------------------------------------------------------------------------------------- */

static struct libmnt_table *read_mounts(int root) {
        struct libmnt_table *table = mnt_new_table();
        _cleanup_free_ char *text = NULL;
        size_t size = 0;

        if (table && (file_read(root, "/proc/1/mountinfo", &text, &size) >= 0 ||
                      file_read(root, "/proc/self/mountinfo", &text, &size) >= 0) && size > 0) {
                _cleanup_(fclosep) FILE *f = fmemopen(text, size, "r");
                if (f)
                        (void) mnt_table_parse_stream(table, f, "mountinfo");
        }
        return table;
}

static bool is_below(const char *path, const char *directory) {
        size_t n = strlen(directory);

        return n == 1 || (strncmp(path, directory, n) == 0 && (path[n] == '/' || !path[n]));
}

/* The mount that a path is in: of the deepest ones the last, which covers the others. */
static struct libmnt_fs *mount_of(struct libmnt_table *table, const char *path) {
        struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
        struct libmnt_fs *fs, *found = NULL;
        size_t longest = 0;

        while (iter && mnt_table_next_fs(table, iter, &fs) == 0) {
                const char *target = mnt_fs_get_target(fs);
                if (target && is_below(path, target) && strlen(target) >= longest) {
                        longest = strlen(target);
                        found = fs;
                }
        }
        mnt_free_iter(iter);
        return found;
}

/* -- matching ---------------------------------------------------------------------------------------------------------- */

typedef struct Search {
        const char *device; /* the kernel's name of what is looked for; NULL: by number */
        dev_t number;
        bool found;
} Search;

static int visit(void *userdata, const BlockNode *node, const char *chain, bool held) {
        Search *s = userdata;

        (void) chain;
        (void) held;
        s->found |= s->device ? str_equal(node->name, s->device)
                              : node->major == (s->number >> 8 & 0xfff) &&
                                        node->minor == ((s->number & 0xff) | (s->number >> 12 & 0xfff00));
        return 0;
}

static int add_controllers_of(const Host *h, int root, const BlockMap *m, GuestDrive *d, const Search *what) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < h->n_disks; i++) {
                Search s = *what;
                r = block_walk(m, root, h->disks[i].name, visit, &s);
                if (r >= 0 && s.found)
                        r = add_controller(d, &h->disks[i].controller);
        }
        return r;
}

static int locate_file(const Host *h, int root, const BlockMap *m, struct libmnt_table *mounts, GuestDrive *d, const char *path) {
        _cleanup_free_ char *resolved = NULL;
        struct libmnt_fs *fs = mount_of(mounts, path_resolve(root, path, &resolved) >= 0 ? resolved : path);
        const char *source = fs ? mnt_fs_get_srcpath(fs) : NULL;
        _cleanup_free_ char *device = source && *source == '/' ? block_name(root, source) : NULL;
        Search s = { .number = fs ? mnt_fs_get_devno(fs) : 0 };

        /* btrfs gives each of its mounts a number of its own; the source names one of its devices. */
        if (device && *device)
                s.device = device;
        return s.device || s.number >> 8 ? add_controllers_of(h, root, m, d, &s) : 0;
}

static int locate_source(const Host *h, int root, const BlockMap *m, struct libmnt_table *mounts, GuestDrive *d, const char *path) {
        _cleanup_free_ char *device = block_name(root, path);
        Search s = { .device = device };

        if (!device)
                return -ENOMEM;
        if (*path != '/')
                return 0;
        return *device ? add_controllers_of(h, root, m, d, &s) : locate_file(h, root, m, mounts, d, path);
}

/* What lies on a server, or on what a program serves, is on no disk of this host, and looking at it may hang. */
static bool may_hang(struct libmnt_table *mounts, const char *path) {
        struct libmnt_fs *fs = *path == '/' ? mount_of(mounts, path) : NULL;
        const char *type = fs ? mnt_fs_get_fstype(fs) : NULL;

        return fs && (mnt_fs_is_netfs(fs) || str_equal(type, "autofs") || (type && strncmp(type, "fuse.", 5) == 0));
}

static int locate_drive(Host *h, int root, const BlockMap *m, struct libmnt_table *mounts, const Guest *g, GuestDrive *d) {
        _cleanup_free_ char *user = NULL;

        if (asprintf(&user, "disk of guest %s", g->name) < 0)
                return -ENOMEM;
        int r = d->scsi_device ? locate_scsi_device(d, root) : 0;
        for (size_t i = 0; r >= 0 && i < d->n_sources; i++)
                if (!may_hang(mounts, d->sources[i]) && (r = block_add_user(h, root, m, d->sources[i], DISK_USE_GUEST, user)) >= 0)
                        r = locate_source(h, root, m, mounts, d, d->sources[i]);
        return r;
}

int guests_locate_drives(Host *h, int root) {
        _cleanup_(block_map_clear) BlockMap map = {};

        int r = block_map_read(root, &map);
        if (r < 0)
                return r;
        struct libmnt_table *mounts = read_mounts(root);
        if (!mounts)
                return -ENOMEM;
        for (size_t i = 0; r >= 0 && i < h->n_guests; i++)
                for (size_t j = 0; r >= 0 && j < h->guests[i].n_drives; j++)
                        r = locate_drive(h, root, &map, mounts, &h->guests[i], &h->guests[i].drives[j]);
        mnt_unref_table(mounts);
        return r;
}
