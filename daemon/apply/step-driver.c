/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * override, unbind and bind through sysfs. Only driver_override is used: new_id and ids= would take twins of the
 * controller as well (drivers/pci/pci-driver.c, new_id_store). Each write is preceded by a check of the identity
 * through the same directory fd: the directory of a device that was unplugged is dead, whatever is at the address now.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "apply/step.h"
#include "base/file.h"
#include "model/controller.h"

/* -- identity ------------------------------------------------------------------------------------------------------ */

static int record_from_text(const char *text, Assigned *ret) {
        _cleanup_json_ json_t *j = text ? json_loads(text, 0, NULL) : NULL;

        return j ? assigned_from_json(j, ret, NULL) : -EINVAL;
}

/* The store may have been changed by this very transaction, so the plan's own copy comes first. */
bool step_record(const StepContext *c, const PciAddress *a, Assigned *ret) {
        _cleanup_json_ json_t *j = NULL;

        for (size_t i = 0; i < c->plan->n_steps; i++) {
                const Step *s = &c->plan->steps[i];
                if (!pci_address_equal(&s->address, a))
                        continue;
                if (s->kind == STEP_STORE)
                        return record_from_text(s->after, ret) == 0;
                if (s->kind == STEP_UNSTORE)
                        return record_from_text(s->before, ret) == 0;
        }
        const Assigned *stored = host_find_assigned(c->host, a);
        if (!stored || !(j = assigned_to_json(stored)))
                return false;
        return assigned_from_json(j, ret, NULL) == 0;
}

static int check_record(const StepContext *c, const PciFunction *f, Error **e) {
        _cleanup_free_ char *why = NULL;
        Assigned record = {};

        if (!step_record(c, &f->address, &record))
                return 0;
        /* A card that was added or taken away may have changed the group: no reason to keep the controller from the host. */
        bool same = c->plan->kind == PLAN_RELEASE ? assigned_is_device(&record, f, &why) : assigned_matches(&record, c->host, f, &why);
        assigned_clear(&record);
        if (same)
                return 0;
        return error_set_full(e, ESTALE, STEP_ERROR_MISMATCH, "Release it and assign the controller that is there now.",
                              "other hardware than the recorded is at %s: %s", PCI_ADDRESS_STR(&f->address),
                              why ? why : "");
}

static int check_ids(int dir, const PciFunction *f, Error **e) {
        const struct {
                const char *name;
                unsigned long long expected;
        } ids[] = {
                { "vendor", f->vendor },
                { "device", f->device },
                { "subsystem_vendor", f->subsystem_vendor },
                { "subsystem_device", f->subsystem_device },
                { "class", f->class },
                { "revision", f->revision },
        };

        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                unsigned long long found;
                int r = attr_read_u64(dir, ids[i].name, &found);
                if (r < 0)
                        return error_set(e, -r, "%s of %s cannot be read: %s", ids[i].name,
                                         PCI_ADDRESS_STR(&f->address),
                                         strerror(-r));
                if (found != ids[i].expected)
                        return error_set_full(e, ESTALE, STEP_ERROR_MISMATCH, "Look at what is there and plan again.",
                                              "other hardware is at %s: its %s is 0x%llx, not 0x%llx",
                                              PCI_ADDRESS_STR(&f->address), ids[i].name, found, ids[i].expected);
        }
        return 0;
}

static int check_identity(const StepContext *c, int dir, const PciAddress *a, Error **e) {
        const PciFunction *f = host_find_function(c->host, a);

        if (!f)
                return error_set_full(e, ENODEV, STEP_ERROR_MISSING, "Look at what is there and plan again.",
                                      "there was nothing at %s when the host was read", PCI_ADDRESS_STR(a));
        int r = check_record(c, f, e);
        return r < 0 ? r : check_ids(dir, f, e);
}

static int function_open(const StepContext *c, const PciAddress *a, int *ret, Error **e) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "/sys/bus/pci/devices/%s", PCI_ADDRESS_STR(a)) < 0)
                return error_oom(e);
        int fd = dir_open(c->root, path);
        if (fd < 0)
                return error_set_full(e, -fd, fd == -ENOENT ? STEP_ERROR_MISSING : NULL,
                                      "Look at what is there and plan again.",
                                      "%s cannot be opened: %s", PCI_ADDRESS_STR(a), strerror(-fd));
        *ret = fd;
        return 0;
}

static int write_attr(const StepContext *c, int dir, const char *name, const char *value) {
        return c->write ? c->write(c->write_userdata, dir, name, value) : attr_write(dir, name, value);
}

static int read_driver(int dir, const PciAddress *a, char **ret, Error **e) {
        int r = link_read_name(dir, "driver", ret);

        if (r == -ENOENT) {
                *ret = NULL;
                return 0;
        }
        return r < 0 ? error_set(e, -r, "the driver of %s cannot be read: %s", PCI_ADDRESS_STR(a), strerror(-r)) : 0;
}

static const char *none(const char *s) {
        return s && *s ? s : "none";
}

/* -- override ------------------------------------------------------------------------------------------------------ */

static int read_override(int dir, const PciAddress *a, char **ret, Error **e) {
        _cleanup_free_ char *value = NULL;

        int r = attr_read(dir, "driver_override", &value);
        if (r < 0)
                return error_set(e, -r, "driver_override of %s cannot be read: %s", PCI_ADDRESS_STR(a), strerror(-r));
        /* What printf makes of the NULL pointer, driver_override_show in drivers/pci/pci-sysfs.c */
        *ret = *value && !str_equal(value, "(null)") ? TAKE_PTR(value) : NULL;
        return 0;
}

int step_override(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *found = NULL, *now = NULL;
        _cleanup_close_ int dir = -1;
        int r;

        if ((r = function_open(c, &s->address, &dir, e)) < 0 || (r = read_override(dir, &s->address, &found, e)) < 0)
                return r;
        if (c->undoing && str_equal(found, s->after))
                return 0;
        if (!str_equal(found, s->before))
                return error_set_full(e, EBUSY, STEP_ERROR_FOREIGN,
                                      "Find out who set it (driverctl list-overrides) first.",
                                      "driver_override of %s is %s, not %s: somebody else changed it",
                                      PCI_ADDRESS_STR(&s->address), none(found), none(s->before));
        if ((r = check_identity(c, dir, &s->address, e)) < 0)
                return r;
        /* A newline clears it; an empty write is refused (driver_set_override, drivers/base/driver.c). */
        r = write_attr(c, dir, "driver_override", s->after ? s->after : "\n");
        if (r < 0)
                return error_set(e, -r, "driver_override of %s cannot be written: %s", PCI_ADDRESS_STR(&s->address),
                                 strerror(-r));
        if ((r = read_override(dir, &s->address, &now, e)) < 0)
                return r;
        if (!str_equal(now, s->after))
                return error_set(e, EIO, "driver_override of %s reads %s after %s was written",
                                 PCI_ADDRESS_STR(&s->address),
                                 none(now), none(s->after));
        return 0;
}

/* -- unbind -------------------------------------------------------------------------------------------------------- */

/* A guest that has just ended, or given the controller back, closes it a little later. */
#define GROUP_TRIES 50
#define GROUP_PAUSE_MS 100

static bool group_is_busy(const StepContext *c, const char *path) {
        for (int i = 0; i < GROUP_TRIES; i++) {
                _cleanup_close_ int fd = file_open(c->root, path, O_RDWR);
                /* Whatever else went wrong does not show that it is idle. */
                if (fd >= 0 || fd == -ENOENT)
                        return false;
                (void) poll(NULL, 0, GROUP_PAUSE_MS);
        }
        return true;
}

/* vfio-pci's remove callback waits, uninterruptibly, until the last user has closed the device
 * (drivers/vfio/vfio_main.c, vfio_unregister_group_dev), so it must not be started while there is one. The group opens
 * once only. */
static int check_group_idle(const StepContext *c, int dir, const PciAddress *a, Error **e) {
        _cleanup_free_ char *group = NULL, *path = NULL, *who = NULL;
        DeviceNumber number = { .character = true };
        struct stat st;

        int r = link_read_name(dir, "iommu_group", &group);
        if (r < 0)
                return r == -ENOENT ? 0 : error_set(e, -r, "the IOMMU group of %s cannot be read", PCI_ADDRESS_STR(a));
        if (asprintf(&path, "/dev/vfio/%s", group) < 0)
                return error_oom(e);
        if (!group_is_busy(c, path))
                return 0;
        _cleanup_close_ int node = file_open(c->root, path, O_PATH);
        if (node >= 0 && fstat(node, &st) == 0) {
                number.major = major(st.st_rdev);
                number.minor = minor(st.st_rdev);
                (void) openers_find(c->root, &number, 1, &who, NULL);
        }
        return error_set_full(e, EBUSY, "refused", "Shut the guest down first.",
                              "IOMMU group %s with %s is in use by %s", group, PCI_ADDRESS_STR(a),
                              who ? who : "a process");
}

/* The driver's directory through the device's own link, and proof that it is the driver that is meant. */
static int driver_open(const StepContext *c, int dir, const Step *s, const char *driver, int *ret, Error **e) {
        _cleanup_free_ char *path = NULL;
        struct stat linked, named;

        if (asprintf(&path, "/sys/bus/pci/drivers/%s", driver) < 0)
                return error_oom(e);
        _cleanup_close_ int fd = openat(dir, "driver", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_set(e, errno, "the driver of %s cannot be opened: %m", PCI_ADDRESS_STR(&s->address));
        _cleanup_close_ int expected = dir_open(c->root, path);
        if (expected < 0 || fstat(fd, &linked) < 0 || fstat(expected, &named) < 0 || linked.st_ino != named.st_ino ||
            linked.st_dev != named.st_dev)
                return error_set_full(e, ESTALE, STEP_ERROR_FOREIGN, "Plan again.", "%s is no longer bound to %s",
                                      PCI_ADDRESS_STR(&s->address), driver);
        *ret = TAKE_FD(fd);
        return 0;
}

static int check_unbound(StepContext *c, int dir, const Step *s, const char *from, Error **e) {
        _cleanup_free_ char *driver = NULL;
        size_t disks = 0;

        int r = read_driver(dir, &s->address, &driver, e);
        if (r < 0)
                return r;
        if (driver)
                return error_set(e, EBUSY, "%s is still bound to %s after the unbind", PCI_ADDRESS_STR(&s->address),
                                 driver);
        if (pci_driver_is_vfio_safe(from))
                return 0;
        if ((r = disks_count(c, &s->address, &disks, e)) < 0)
                return r;
        if (disks > 0)
                return error_set(e, EBUSY, "%zu disks are still there behind %s after the unbind", disks,
                                 PCI_ADDRESS_STR(&s->address));
        return 0;
}

/* "" stands for whatever driver of the host took it. */
static bool driver_is(const char *found, const char *meant) {
        return meant && !*meant ? !pci_driver_is_vfio(found) : str_equal(found, meant);
}

int step_unbind(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *found = NULL;
        _cleanup_close_ int dir = -1, driver = -1;
        int r;

        if ((r = function_open(c, &s->address, &dir, e)) < 0 || (r = read_driver(dir, &s->address, &found, e)) < 0)
                return r;
        if (c->undoing && !found)
                return 0;
        if (!found || !driver_is(found, s->before))
                return error_set_full(e, ESTALE, STEP_ERROR_FOREIGN, "Plan again.",
                                      "%s is bound to %s, not to %s: somebody else changed it",
                                      PCI_ADDRESS_STR(&s->address), none(found), none(s->before));
        if (!pci_driver_is_vfio_safe(found))
                r = disks_secure(c, &s->address, e);
        else
                r = check_group_idle(c, dir, &s->address, e);
        if (r < 0 || (r = check_identity(c, dir, &s->address, e)) < 0 ||
            (r = driver_open(c, dir, s, found, &driver, e)) < 0)
                return r;
        r = write_attr(c, driver, "unbind", PCI_ADDRESS_STR(&s->address));
        if (r < 0)
                return error_set(e, -r, "%s cannot be unbound from %s: %s", PCI_ADDRESS_STR(&s->address), found,
                                 strerror(-r));
        return check_unbound(c, dir, s, found, e);
}

/* -- bind ---------------------------------------------------------------------------------------------------------- */

static int load_driver(const StepContext *c, int dir, const Step *s, Error **e) {
        _cleanup_free_ char *path = NULL, *modalias = NULL;

        if (!s->after || !*s->after)
                return 0;
        if (asprintf(&path, "/sys/bus/pci/drivers/%s", s->after) < 0)
                return error_oom(e);
        if (file_exists(c->root, path) || !step_is_live(c))
                return 0;
        if (pci_driver_is_vfio(s->after))
                return module_load(s->after, e);
        /* A driver need not be called like its module, but the modalias leads to it. */
        int r = attr_read(dir, "modalias", &modalias);
        return module_load(r < 0 ? s->after : modalias, e);
}

/* drivers_probe would bind whatever the override names. One that is not vfio's is somebody else's; vfio's is our own,
 * not taken back yet: then a controller without a driver must not count as undone. */
static int check_override_allows(int dir, const Step *s, Error **e) {
        _cleanup_free_ char *override = NULL;

        int r = read_override(dir, &s->address, &override, e);
        if (r < 0)
                return r;
        bool allowed = pci_driver_is_vfio(s->after) ? str_equal(override, s->after)
                                                    : !override || !s->after || !*s->after ||
                                                    str_equal(override, s->after);
        if (allowed)
                return 0;
        return error_set_full(e, EBUSY, !override || pci_driver_is_vfio(override) ? NULL : STEP_ERROR_FOREIGN,
                              "Find out who set it (driverctl list-overrides) first.",
                              "%s cannot be bound to %s: its driver_override is %s", PCI_ADDRESS_STR(&s->address),
                              none(s->after), none(override));
}

static int probe_driver(const StepContext *c, const PciAddress *a, Error **e) {
        _cleanup_close_ int bus = dir_open(c->root, "/sys/bus/pci");
        int r = bus;

        if (bus >= 0)
                r = write_attr(c, bus, "drivers_probe", PCI_ADDRESS_STR(a));
        return r < 0 ? error_set(e, -r, "no driver can be probed for %s: %s", PCI_ADDRESS_STR(a), strerror(-r)) : 0;
}

/* drivers_probe reports success also when nothing was bound (drivers/base/bus.c, drivers_probe_store). */
static int check_bound(int dir, const Step *s, Error **e) {
        _cleanup_free_ char *driver = NULL;

        int r = read_driver(dir, &s->address, &driver, e);
        if (r < 0 || !s->after || !*s->after || str_equal(driver, s->after))
                return r;
        return error_set_full(e, EIO, NULL, "The kernel's log (journalctl -k) tells why.",
                              "%s is bound to %s instead of %s",
                              PCI_ADDRESS_STR(&s->address), driver ? driver : "no driver", s->after);
}

static int bind_driver(StepContext *c, int dir, const Step *s, Error **e) {
        int r;

        /* Loading the host's driver may bind the controller already. */
        if ((r = check_identity(c, dir, &s->address, e)) < 0 || (r = load_driver(c, dir, s, e)) < 0)
                return r;
        if ((r = check_identity(c, dir, &s->address, e)) < 0 || (r = probe_driver(c, &s->address, e)) < 0 ||
            (r = check_bound(dir, s, e)) < 0)
                return r;
        return pci_driver_is_vfio_safe(s->after) ? 0 : disks_wait(c, &s->address, e);
}

int step_bind(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *found = NULL;
        _cleanup_close_ int dir = -1;
        int r;

        holds_release(c);
        if ((r = function_open(c, &s->address, &dir, e)) < 0 || (r = read_driver(dir, &s->address, &found, e)) < 0)
                return r;
        if (c->undoing && found && str_equal(found, s->after))
                return 0;
        /* Loading vfio-pci for the first of several controllers binds them all: their overrides name it. */
        if (found && !str_equal(found, s->after))
                return error_set_full(e, ESTALE, STEP_ERROR_FOREIGN, "Plan again.",
                                      "%s is bound to %s already: somebody else changed it",
                                      PCI_ADDRESS_STR(&s->address), found);
        if ((r = check_override_allows(dir, s, e)) < 0)
                return r;
        return found ? check_identity(c, dir, &s->address, e) : bind_driver(c, dir, s, e);
}
