/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hold and flush. The kernel does not refuse to unbind a controller whose disks are in use; an exclusive open of the
 * whole disk does: bd_may_claim (block/bdev.c) answers EBUSY when the disk or any partition is claimed, and while we
 * hold it nobody else can mount, swap to or assemble it.
 */
#include <errno.h>
#include <fcntl.h>
#include <libudev.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "apply/step.h"
#include "base/file.h"
#include "probe/probe.h"

/* udev workers and the like open a disk shortly after any event; whoever still has it open then means it. */
#define OPENERS_TRIES 30
#define OPENERS_PAUSE_MS 100

/* Others claim a disk for a moment to see whether it is in use, as `passthructl preflight` does. */
#define CLAIM_TRIES 5
#define CLAIM_PAUSE_MS 100

#define DISKS_WAIT_MS 10000
/* Without udev there are no events; then the disks are counted this often. */
#define DISKS_PAUSE_MS 500

typedef struct udev Udev;
typedef struct udev_monitor UdevMonitor;

DEFINE_CLEANUP(Udev *, udev_unref)
DEFINE_CLEANUP(UdevMonitor *, udev_monitor_unref)

void holds_release(StepContext *c) {
        for (size_t i = 0; i < c->n_holds; i++) {
                closep(&c->holds[i].fd);
                free(c->holds[i].name);
        }
        free(c->holds);
        c->holds = NULL;
        c->n_holds = 0;
}

/* A fresh reading of the disks: names may have changed since the plan was made. */
static int disks_look(const StepContext *c, Host **ret, Error **e) {
        _cleanup_(host_freep) Host *h = host_new();
        int r;

        if (!h)
                return error_oom(e);
        if ((r = probe_pci(h, c->root, PROBE_GLANCE, e)) < 0 ||
            (r = probe_block(h, c->root, e)) < 0)
                return r;
        host_sort(h);
        *ret = TAKE_PTR(h);
        return 0;
}

static bool disk_is(const Disk *d, const Step *s) {
        if (!pci_address_equal(&d->controller, &s->address))
                return false;
        if (d->serial || d->wwn)
                return str_equal(d->serial, s->subject) || str_equal(d->wwn, s->subject);
        return str_equal(d->name, s->subject);
}

/* Two logical units may share the serial of their box: then the name decides. */
static const Disk *disk_find(const Host *h, const Step *s) {
        const Disk *found = NULL;

        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                if (!disk_is(d, s))
                        continue;
                if (str_equal(d->name, s->disk))
                        return d;
                if (!found)
                        found = d;
        }
        return found;
}

/* By the name alone: a disk that several controllers reach is held once. */
static Hold *hold_find(const StepContext *c, const char *name) {
        for (size_t i = 0; i < c->n_holds; i++)
                if (str_equal(c->holds[i].name, name))
                        return &c->holds[i];
        return NULL;
}

/* The node must be the device that sysfs means: a stale or wrong node would hold another disk. */
static int check_node(const StepContext *c, int fd, const char *name, Error **e) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        DeviceNumber number = {};
        struct stat st;

        if (asprintf(&path, "/sys/class/block/%s/dev", name) < 0)
                return error_oom(e);
        int r = attr_read(c->root, path, &text);
        if (r < 0 || (r = device_number_parse(text, &number)) < 0)
                return error_set(e, -r, "%s cannot be read: %s", path, strerror(-r));
        if (fstat(fd, &st) < 0)
                return error_set(e, errno, "/dev/%s: %m", name);
        if (!S_ISBLK(st.st_mode) || major(st.st_rdev) != number.major || minor(st.st_rdev) != number.minor)
                return error_set_full(e, ENXIO, STEP_ERROR_MISMATCH, "Run udevadm trigger --settle and try again.",
                                      "/dev/%s is not the device %s that sysfs names", name, text);
        return 0;
}

static int open_exclusively(const StepContext *c, const Disk *d, int *ret, Error **e) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "/dev/%s", d->name) < 0)
                return error_oom(e);
        /* cciss!c0d0 is /dev/cciss/c0d0 */
        for (char *p = path; *p; p++)
                if (*p == '!')
                        *p = '/';
        _cleanup_close_ int node = file_open(c->root, path, O_PATH);
        if (node < 0)
                return error_set(e, -node, "%s cannot be opened: %s", path, strerror(-node));
        int r = check_node(c, node, d->name, e);
        if (r < 0)
                return r;
        int fd = -1;
        for (int i = 0; i < CLAIM_TRIES; i++) {
                fd = file_open(c->root, path, O_RDONLY | O_EXCL | O_NONBLOCK);
                if (fd != -EBUSY)
                        break;
                (void) poll(NULL, 0, CLAIM_PAUSE_MS);
        }
        if (fd == -EBUSY)
                return error_set_full(e, EBUSY, "refused",
                                      "Unmount it or stop what uses it; passthructl show names the users.",
                                      "disk %s (%s) behind %s is in use by the host", d->name,
                                      d->serial ? d->serial : "no serial number", PCI_ADDRESS_STR(&d->controller));
        if (fd < 0)
                return error_set(e, -fd, "disk %s cannot be opened exclusively: %s", d->name, strerror(-fd));
        *ret = fd;
        return 0;
}

static int hold_disk(StepContext *c, const Disk *d, Error **e) {
        _cleanup_close_ int fd = -1;

        if (hold_find(c, d->name))
                return 0;
        int r = open_exclusively(c, d, &fd, e);
        if (r < 0 || (r = check_node(c, fd, d->name, e)) < 0)
                return r;
        _cleanup_free_ char *name = strdup(d->name);
        Hold *more = reallocarray(c->holds, c->n_holds + 1, sizeof *more);
        if (more)
                c->holds = more;
        if (!name || !more)
                return error_oom(e);
        c->holds[c->n_holds++] = (Hold){ .fd = TAKE_FD(fd), .name = TAKE_PTR(name), .controller = d->controller };
        return 0;
}

/* The disk that the step means, as it is called now. */
static int disk_of_step(const StepContext *c, const Step *s, Host **ret_host, const Disk **ret, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;

        int r = disks_look(c, &h, e);
        if (r < 0)
                return r;
        const Disk *d = disk_find(h, s);
        if (!d)
                return error_set_full(e, ENODEV, STEP_ERROR_MISSING,
                                      "Plan again: the disks behind the controller have changed.",
                                      "disk %s (%s) is not behind %s any more", s->disk ? s->disk : "", s->subject,
                                      PCI_ADDRESS_STR(&s->address));
        *ret_host = TAKE_PTR(h);
        *ret = d;
        return 0;
}

int step_hold(StepContext *c, const Step *s, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;
        const Disk *d = NULL;

        int r = disk_of_step(c, s, &h, &d, e);
        return r < 0 ? r : hold_disk(c, d, e);
}

/* `what` is for the message: "disk sda", "a device". */
static int openers_wait(const StepContext *c, const DeviceNumber *devices, size_t n, const char *what, const PciAddress *controller,
                        Error **e) {
        _cleanup_free_ char *who = NULL;

        for (int i = 0; i < OPENERS_TRIES; i++) {
                free(TAKE_PTR(who));
                int r = openers_find(c->root, devices, n, &who, e);
                if (r < 0 || !who)
                        return r;
                (void) poll(NULL, 0, OPENERS_PAUSE_MS);
        }
        return error_set_full(e, EBUSY, "refused", "Stop these processes and try again.", "%s behind %s is open by %s", what,
                              PCI_ADDRESS_STR(controller), who);
}

static int openers_of_disk(const StepContext *c, const Hold *hold, Error **e) {
        _cleanup_(device_list_clear) DeviceList list = {};
        _cleanup_free_ DeviceNumber *devices = NULL;
        _cleanup_free_ char *what = NULL;
        size_t n = 0;

        int r = device_list_read(c->root, &list);
        if (r >= 0)
                r = device_list_of_disk(&list, hold->name, &hold->controller, &devices, &n);
        if (r < 0)
                return error_set(e, -r, "the devices of disk %s cannot be read: %s", hold->name, strerror(-r));
        if (asprintf(&what, "disk %s", hold->name) < 0)
                return error_oom(e);
        return openers_wait(c, devices, n, what, &hold->controller, e);
}

/* The head of an NVMe multipath disk has no controller of its own. */
static bool is_behind(const Host *h, const Device *d, const PciAddress *controller) {
        if (pci_address_equal(&d->controller, controller))
                return true;
        for (size_t i = 0; d->disk && i < h->n_disks; i++)
                if (pci_address_equal(&h->disks[i].controller, controller) && str_equal(h->disks[i].name, d->disk))
                        return true;
        return false;
}

/* The last look, right before the host's driver loses the controller: a hold keeps nobody from a plain open after the flush of
 * its disk, and tapes and changers have no hold at all. */
static int openers_of_controller(const StepContext *c, const Host *h, const PciAddress *controller, Error **e) {
        _cleanup_(device_list_clear) DeviceList list = {};
        _cleanup_free_ DeviceNumber *devices = NULL;
        size_t n = 0;

        int r = device_list_read(c->root, &list);
        if (r < 0)
                return error_set(e, -r, "the devices behind %s cannot be read: %s", PCI_ADDRESS_STR(controller), strerror(-r));
        if (!(devices = calloc(list.n + 1, sizeof *devices)))
                return error_oom(e);
        for (size_t i = 0; i < list.n; i++)
                if (is_behind(h, &list.items[i], controller))
                        devices[n++] = list.items[i].number;
        return n > 0 ? openers_wait(c, devices, n, "a disk or another device", controller, e) : 0;
}

static int flush_disk(const StepContext *c, const Hold *hold, Error **e) {
        if (fsync(hold->fd) < 0)
                return error_set(e, errno, "disk %s cannot be synced: %m", hold->name);
        if (ioctl(hold->fd, BLKFLSBUF, 0) < 0)
                return error_set(e, errno, "the buffers of disk %s cannot be flushed: %m", hold->name);
        return openers_of_disk(c, hold, e);
}

int step_flush(StepContext *c, const Step *s, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;
        const Disk *d = NULL;

        int r = disk_of_step(c, s, &h, &d, e);
        if (r < 0)
                return r;
        const Hold *hold = hold_find(c, d->name);
        if (!hold)
                return error_set(e, EINVAL, "disk %s is to be flushed but is not held", d->name);
        return flush_disk(c, hold, e);
}

int disks_secure(StepContext *c, const PciAddress *controller, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;

        int r = disks_look(c, &h, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                if (!pci_address_equal(&d->controller, controller) || hold_find(c, d->name))
                        continue;
                if (!c->undoing)
                        return error_set_full(e, ESTALE, "refused", "Plan again.",
                                              "disk %s appeared behind %s after the plan was made", d->name,
                                              PCI_ADDRESS_STR(controller));
                if ((r = hold_disk(c, d, e)) < 0 || (r = flush_disk(c, &c->holds[c->n_holds - 1], e)) < 0)
                        return r;
        }
        return openers_of_controller(c, h, controller, e);
}

/* -- counting them ------------------------------------------------------------------------------------------------- */

int disks_count(StepContext *c, const PciAddress *controller, size_t *ret, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;

        int r = disks_look(c, &h, e);
        if (r < 0)
                return r;
        *ret = 0;
        for (size_t i = 0; i < h->n_disks; i++)
                *ret += pci_address_equal(&h->disks[i].controller, controller);
        return 0;
}

/* How many there were before the plan, so many may be waited for. */
static size_t disks_expected(const StepContext *c, const PciAddress *controller) {
        Assigned record = {};
        size_t n = 0;

        for (size_t i = 0; i < c->plan->n_steps; i++)
                n += c->plan->steps[i].kind == STEP_HOLD && pci_address_equal(&c->plan->steps[i].address, controller);
        if (n == 0 && step_record(c, controller, &record)) {
                n = record.n_disk_serials;
                assigned_clear(&record);
        }
        return n;
}

static UdevMonitor *disk_monitor(Udev *udev) {
        _cleanup_(udev_monitor_unrefp) UdevMonitor *monitor = udev ? udev_monitor_new_from_netlink(udev, "udev") : NULL;

        if (!monitor || udev_monitor_filter_add_match_subsystem_devtype(monitor, "block", "disk") < 0 ||
            udev_monitor_enable_receiving(monitor) < 0)
                return NULL;
        return TAKE_PTR(monitor);
}

static void monitor_drain(UdevMonitor *monitor) {
        struct udev_device *device;

        while (monitor && (device = udev_monitor_receive_device(monitor)))
                (void) udev_device_unref(device);
}

int disks_wait(StepContext *c, const PciAddress *controller, Error **e) {
        size_t expected = step_is_live(c) ? disks_expected(c, controller) : 0, found = 0;
        _cleanup_(udev_unrefp) Udev *udev = expected > 0 ? udev_new() : NULL;
        _cleanup_(udev_monitor_unrefp) UdevMonitor *monitor = disk_monitor(udev);
        long end = monotonic_ms() + DISKS_WAIT_MS;

        while (expected > 0) {
                int r = disks_count(c, controller, &found, e);
                long left = end - monotonic_ms();
                if (r < 0 || found >= expected || left <= 0)
                        return r;
                struct pollfd p = { .fd = monitor ? udev_monitor_get_fd(monitor) : -1, .events = POLLIN };
                (void) poll(&p, 1, left < DISKS_PAUSE_MS ? (int) left : DISKS_PAUSE_MS);
                monitor_drain(monitor);
        }
        return 0;
}
