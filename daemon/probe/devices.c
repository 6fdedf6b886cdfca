/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nodes through which a process can reach what is behind a controller: block devices, and the character devices of the SCSI
 * and NVMe layers, which pass commands to the same disk (drivers/scsi/sg.c, block/bsg.c, drivers/nvme/host/core.c).
 */
#include <errno.h>
#include <poll.h>

#include "base/file.h"
#include "probe/block-map.h"
#include "probe/openers.h"
#include "probe/probe.h"

static void device_clear(Device *d) {
        free(d->name);
        free(d->disk);
}

void device_list_clear(DeviceList *l) {
        for (size_t i = 0; i < l->n; i++)
                device_clear(&l->items[i]);
        free(l->items);
        *l = (DeviceList){};
}

/* Takes what is in d. */
static int list_add(DeviceList *l, Device *d) {
        Device *more = d->name ? reallocarray(l->items, l->n + 1, sizeof *more) : NULL;

        if (!more) {
                device_clear(d);
                return -ENOMEM;
        }
        l->items = more;
        more[l->n++] = *d;
        return 0;
}

static int add_blocks(DeviceList *l, int root) {
        _cleanup_(block_map_clear) BlockMap m = {};

        int r = block_map_read(root, &m);
        for (size_t i = 0; r >= 0 && i < m.n; i++) {
                const BlockNode *node = &m.nodes[i];
                Device d = { .number = { .major = node->major, .minor = node->minor } };
                if (!node->major && !node->minor)
                        continue;
                (void) controller_of_path(node->path, &d.controller);
                d.name = strdup(node->name);
                d.disk = strdup(node->whole ? node->whole : node->name);
                r = list_add(l, &d);
        }
        return r;
}

/* -- character devices ------------------------------------------------------------------------------------------------- */

/* The disk of a SCSI device's other nodes: SCSI_DEVICE/block/sda. When that cannot be read the node is one of the controller,
 * and so of all of its disks. */
static char *disk_beside(int root, const char *node) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&path, "%s/device/block", node) < 0)
                return NULL;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        while ((entry = dir_next(d, &r)))
                if (entry->d_name[0] != '.')
                        return strdup(entry->d_name);
        return NULL;
}

/* ng0n1 passes commands to nvme0n1. */
static char *disk_of_generic(const char *name) {
        char *disk = NULL;

        return asprintf(&disk, "nvme%s", name + 2) < 0 ? NULL : disk;
}

static int add_character(DeviceList *l, int root, const char *class, const char *name) {
        _cleanup_free_ char *link = NULL, *resolved = NULL, *attribute = NULL, *text = NULL;
        Device d = { .number = { .character = true } };

        if (asprintf(&link, "/sys/class/%s/%s", class, name) < 0 || asprintf(&attribute, "%s/dev", link) < 0)
                return -ENOMEM;
        int r = path_resolve(root, link, &resolved);
        if (r < 0)
                return r == -ENOENT || r == -ENODEV ? 0 : r;
        bool generic = str_equal(class, "nvme-generic");
        if (attr_read(root, attribute, &text) < 0 || device_number_parse(text, &d.number) < 0 ||
            (!controller_of_path(resolved, &d.controller) && !generic))
                return 0;
        d.disk = generic ? disk_of_generic(name) : disk_beside(root, link);
        d.name = strdup(name);
        return list_add(l, &d);
}

static int add_class(DeviceList *l, int root, const char *class) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&path, "/sys/class/%s", class) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = dir_next(d, &r)))
                if (entry->d_name[0] != '.')
                        r = add_character(l, root, class, entry->d_name);
        return r;
}

int device_list_read(int root, DeviceList *ret) {
        static const char *const classes[] = { "scsi_generic", "bsg", "scsi_tape", "scsi_changer", "nvme", "nvme-generic" };
        DeviceList l = {};

        int r = add_blocks(&l, root);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(classes); i++)
                r = add_class(&l, root, classes[i]);
        if (r < 0) {
                device_list_clear(&l);
                return r;
        }
        *ret = l;
        return 0;
}

int device_list_of_disk(const DeviceList *l, const char *disk, const PciAddress *controller, DeviceNumber **ret, size_t *ret_n) {
        DeviceNumber *numbers = calloc(l->n + 1, sizeof *numbers);
        size_t n = 0;

        if (!numbers)
                return -ENOMEM;
        for (size_t i = 0; i < l->n; i++) {
                const Device *d = &l->items[i];
                if (d->disk ? str_equal(d->disk, disk) : pci_address_equal(&d->controller, controller))
                        numbers[n++] = d->number;
        }
        *ret = numbers;
        *ret_n = n;
        return 0;
}

/* -- the uses ---------------------------------------------------------------------------------------------------------- */

typedef struct Opener {
        char pid[16], command[32];
        size_t device;
} Opener;

typedef struct OpenerList {
        Opener *items;
        size_t n;
} OpenerList;

static void opener_list_clear(OpenerList *l) {
        free(l->items);
        *l = (OpenerList){};
}

/* udev looks at a disk after each event of it, and our own workers do as these probes. At the moment of the change all
 * openers count, whatever they are called. */
static bool is_momentary(const char *command) {
        static const char *const commands[] = { "(udev-worker)", "systemd-udevd", "passthrud" };

        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (str_equal(command, commands[i]))
                        return true;
        return false;
}

static int add_opener(void *userdata, const char *pid, const char *command, size_t device) {
        OpenerList *l = userdata;

        if (is_momentary(command))
                return 0;
        Opener *more = reallocarray(l->items, l->n + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        l->items = more;
        Opener *o = &more[l->n++];
        o->device = device;
        (void) snprintf(o->pid, sizeof o->pid, "%s", pid);
        (void) snprintf(o->command, sizeof o->command, "%s", command);
        return 0;
}

static void keep_common(OpenerList *l, const OpenerList *other) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++) {
                bool found = false;
                for (size_t j = 0; j < other->n; j++)
                        found |= l->items[i].device == other->items[j].device && str_equal(l->items[i].pid, other->items[j].pid);
                if (found)
                        l->items[n++] = l->items[i];
        }
        l->n = n;
}

static int add_controller_use(Host *h, const Device *device, const Opener *o) {
        _cleanup_free_ char *chain = NULL;

        if (asprintf(&chain, "%s → %s (pid %s)", device->name, o->command, o->pid) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < h->n_controller_uses; i++)
                if (str_equal(h->controller_uses[i].chain, chain))
                        return 0;
        ControllerUse *more = reallocarray(h->controller_uses, h->n_controller_uses + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        h->controller_uses = more;
        more[h->n_controller_uses++] = (ControllerUse){ .controller = device->controller, .chain = TAKE_PTR(chain) };
        return 0;
}

static int add_use(Host *h, const Device *device, const Opener *o) {
        int r = 0;

        if (!device->disk)
                return add_controller_use(h, device, o);
        for (size_t i = 0; r >= 0 && i < h->n_disks; i++)
                if (str_equal(h->disks[i].name, device->disk))
                        r = disk_add_use(&h->disks[i], DISK_USE_PROCESS, false, "%s → %s (pid %s)", device->name, o->command,
                                         o->pid);
        return r;
}

/* Keeps the devices behind the controllers in question, with the numbers of a disk of several controllers once. */
static DeviceNumber *select_devices(const Host *h, DeviceList *l, const ProbeScope *s) {
        DeviceNumber *numbers = calloc(l->n + 1, sizeof *numbers);
        size_t n = 0;

        for (size_t i = 0; numbers && i < l->n; i++) {
                bool wanted = !l->items[i].disk && probe_scope_has(s, &l->items[i].controller);
                for (size_t j = 0; j < h->n_disks; j++)
                        wanted |= str_equal(h->disks[j].name, l->items[i].disk) && probe_scope_has(s, &h->disks[j].controller);
                if (!wanted) {
                        device_clear(&l->items[i]);
                        continue;
                }
                numbers[n] = l->items[i].number;
                l->items[n++] = l->items[i];
        }
        if (numbers)
                l->n = n;
        return numbers;
}

/* What udev's rules start, and smartd, look at a disk for a moment. Whoever has it open each time means it. */
#define LOOKS 5
#define LOOKS_PAUSE_MS 300

static int look_again(int root, const DeviceList *l, const DeviceNumber *numbers, OpenerList *found, Error **e) {
        int r = openers_walk(root, numbers, l->n, add_opener, found, e);

        for (int i = 1; r >= 0 && found->n > 0 && i < LOOKS; i++) {
                _cleanup_(opener_list_clear) OpenerList now = {};
                (void) poll(NULL, 0, LOOKS_PAUSE_MS);
                r = openers_walk(root, numbers, l->n, add_opener, &now, e);
                keep_common(found, &now);
        }
        return r;
}

static int find_uses(Host *h, int root, const DeviceList *l, const DeviceNumber *numbers, Error **e) {
        _cleanup_(opener_list_clear) OpenerList found = {};

        int r = look_again(root, l, numbers, &found, e);
        for (size_t i = 0; r >= 0 && i < found.n; i++)
                r = add_use(h, &l->items[found.items[i].device], &found.items[i]);
        return r;
}

int probe_openers(Host *h, int root, const ProbeScope *s, Error **e) {
        _cleanup_(device_list_clear) DeviceList l = {};
        _cleanup_free_ DeviceNumber *numbers = NULL;

        int r = device_list_read(root, &l);
        if (r < 0)
                return error_set(e, -r, "the devices of the disks cannot be read: %s", strerror(-r));
        numbers = select_devices(h, &l, s);
        if (!numbers)
                return error_oom(e);
        /* That other processes cannot be looked at is no reason to tell nothing. */
        r = find_uses(h, root, &l, numbers, NULL);
        h->openers_known = r >= 0;
        return r == -ENOMEM ? error_oom(e) : 0;
}
