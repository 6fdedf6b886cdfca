/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions, their bridges and drivers, from sysfs. driver_override and sriov_numvfs take the device's lock to be read
 * (driver_override_show, drivers/pci/pci-sysfs.c; sriov_numvfs_show, drivers/pci/iov.c), which an unbind that hangs holds: a
 * glance leaves them out, so that it never hangs with it.
 */
#include <errno.h>
#include <fcntl.h>

#include <pci/pci.h>

#include "base/file.h"
#include "probe/config-space.h"
#include "probe/probe.h"

/* A glance shows the capabilities of controllers alone. */
static void read_config(PciFunction *f, int dir, bool glance) {
        uint8_t config[CONFIG_SPACE_SIZE];
        _cleanup_close_ int fd = file_open(dir, "config", O_RDONLY);

        config_space_decode(f, config, fd < 0 ? 0 : config_space_read(fd, glance && !pci_function_is_controller(f), config));
}

static uint64_t attr_number(int dir, const char *name, uint64_t otherwise) {
        unsigned long long n;

        return attr_read_u64(dir, name, &n) < 0 ? otherwise : n;
}

static void read_locked(PciFunction *f, int dir) {
        char *override = NULL;

        f->sriov_vfs = (unsigned) attr_number(dir, "sriov_numvfs", 0);
        /* "(null)": driver_override_show, drivers/pci/pci-sysfs.c */
        if (attr_read(dir, "driver_override", &override) >= 0 && *override && !str_equal(override, "(null)"))
                f->driver_override = TAKE_PTR(override);
        free(override);
}

/* "8.0 GT/s PCIe"; "Unknown" while there is no link (pci_speed_string, drivers/pci/probe.c) */
static unsigned link_speed(int dir, const char *name) {
        _cleanup_free_ char *text = NULL;
        unsigned whole, tenth = 0;

        if (attr_read(dir, name, &text) < 0 || sscanf(text, "%6u.%1u", &whole, &tenth) < 1)
                return 0;
        return whole * 1000 + tenth * 100;
}

static void read_link(PciFunction *f, int dir) {
        f->link_speed = link_speed(dir, "current_link_speed");
        f->link_speed_max = link_speed(dir, "max_link_speed");
        f->link_width = (unsigned) attr_number(dir, "current_link_width", 0);
        f->link_width_max = (unsigned) attr_number(dir, "max_link_width", 0);
}

/* Whether power can be taken from it, and whether it will: Documentation/ABI/testing/sysfs-bus-pci, sysfs-devices-power,
 * sysfs-devices-power_resources_D3hot. */
static void read_power(PciFunction *f, int root, int dir) {
        _cleanup_free_ char *control = NULL, *resources = NULL;
        uint64_t allowed = attr_number(dir, "d3cold_allowed", UINT64_MAX);

        f->d3cold_allowed = allowed == UINT64_MAX ? TRI_UNKNOWN : allowed ? TRI_YES : TRI_NO;
        f->runtime_pm = attr_read(dir, "power/control", &control) < 0 ? TRI_UNKNOWN : str_equal(control, "auto") ? TRI_YES : TRI_NO;
        /* firmware_node is a link that leads out of dir */
        if (asprintf(&resources, "/sys/bus/pci/devices/%s/firmware_node/power_resources_D3hot", PCI_ADDRESS_STR(&f->address)) >= 0)
                f->power_switch = file_exists(root, resources) ? TRI_YES : TRI_NO;
}

/* What only the checks need. */
static void read_details(PciFunction *f, int root, int dir) {
        if (!pci_function_is_controller(f) && !pci_function_is_bridge(f))
                return;
        read_power(f, root, dir);
        if (!pci_function_is_controller(f))
                return;
        read_link(f, dir);
        f->remapped_nvme = (unsigned) attr_number(dir, "remapped_nvme", 0);
}

static void read_group(PciFunction *f, int dir) {
        _cleanup_free_ char *group = NULL;
        char *end;

        f->group = -1;
        if (link_read_name(dir, "iommu_group", &group) < 0)
                return;
        long n = strtol(group, &end, 10);
        if (end != group && !*end && n >= 0 && n <= INT32_MAX)
                f->group = (int) n;
}

/* "/sys/devices/pci0000:00/0000:00:02.0/0000:03:00.0": the parent is the last address but one; the port path keeps the root
 * bus and device.function of each hop, which no renumbering of buses changes. */
static int read_place(PciFunction *f, int root, int dir) {
        _cleanup_free_ char *path = NULL, *built = NULL;
        size_t size = 0;
        char *save = NULL;
        PciAddress hop;

        int r = fd_resolve(root, dir, &path);
        if (r < 0)
                return r;
        FILE *stream = open_memstream(&built, &size);
        if (!stream)
                return -ENOMEM;
        for (char *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
                if (strncmp(part, "pci", 3) == 0 && strchr(part, ':')) {
                        (void) fputs(part + 3, stream);
                        continue;
                }
                if (pci_address_parse(part, &hop) < 0)
                        continue;
                (void) fprintf(stream, "/%02x.%x", hop.device, hop.function);
                if (pci_address_equal(&hop, &f->address))
                        break;
                f->parent = hop;
                f->has_parent = true;
        }
        if (fclose(stream) != 0)
                return -ENOMEM;
        f->port_path = TAKE_PTR(built);
        return 0;
}

/* udev's hwdb has the same names as pci.ids, and libpci 3.9 leaks at each lookup where there is none. */
#define LOOKUP_FLAGS (PCI_LOOKUP_NO_NUMBERS | PCI_LOOKUP_NO_HWDB)

static void read_names(PciFunction *f, struct pci_access *access) {
        char vendor[256], device[256];

        if (pci_lookup_name(access, vendor, sizeof vendor, PCI_LOOKUP_VENDOR | LOOKUP_FLAGS, f->vendor))
                f->vendor_name = strdup(vendor);
        if (pci_lookup_name(access, device, sizeof device, PCI_LOOKUP_DEVICE | LOOKUP_FLAGS, f->vendor, f->device))
                f->device_name = strdup(device);
}

/* Unplugged while it was read. Any other error is one: a function that is left out would make its group look empty. */
static bool is_gone(int r) {
        return r == -ENOENT || r == -ENODEV;
}

/* 1 when read, 0 when it is not there (any more). */
static int read_function(Host *h, int root, const char *name, bool glance, struct pci_access *access) {
        _cleanup_free_ char *path = NULL;
        PciFunction f = { .d3cold_allowed = TRI_UNKNOWN, .runtime_pm = TRI_UNKNOWN, .power_switch = TRI_UNKNOWN };

        if (pci_address_parse(name, &f.address) < 0)
                return 0;
        if (asprintf(&path, "/sys/bus/pci/devices/%s", name) < 0)
                return -ENOMEM;
        _cleanup_close_ int dir = dir_open(root, path);
        unsigned long long vendor;
        int r = dir < 0 ? dir : attr_read_u64(dir, "vendor", &vendor);
        if (r < 0)
                return is_gone(r) ? 0 : r;
        f.vendor = (uint16_t) vendor;
        f.device = (uint16_t) attr_number(dir, "device", 0);
        f.subsystem_vendor = (uint16_t) attr_number(dir, "subsystem_vendor", 0);
        f.subsystem_device = (uint16_t) attr_number(dir, "subsystem_device", 0);
        f.class = (uint32_t) attr_number(dir, "class", 0) & 0xffffff;
        f.revision = (uint8_t) attr_number(dir, "revision", 0);
        f.numa_node = (int) attr_number(dir, "numa_node", (uint64_t) -1);
        _cleanup_free_ char *physical = NULL;
        f.is_vf = link_read_name(dir, "physfn", &physical) >= 0;
        (void) attr_read(dir, "reset_method", &f.reset_method);
        (void) link_read_name(dir, "driver", &f.driver);
        if (!glance)
                read_locked(&f, dir);
        read_group(&f, dir);
        read_config(&f, dir, glance);
        if (!glance)
                read_details(&f, root, dir);
        read_names(&f, access);
        r = read_place(&f, root, dir);
        PciFunction *more = r < 0 ? NULL : reallocarray(h->functions, h->n_functions + 1, sizeof *more);
        if (!more) {
                pci_function_clear(&f);
                return r >= 0 ? -ENOMEM : is_gone(r) ? 0 : r;
        }
        h->functions = more;
        h->functions[h->n_functions++] = f;
        return 1;
}

static void silent(char *message, ...) {
        (void) message;
}

int probe_pci(Host *h, int root, ProbeFlags flags, Error **e) {
        _cleanup_closedir_ DIR *d = dir_stream(root, "/sys/bus/pci/devices");
        const struct dirent *entry;
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : error_set(e, errno, "/sys/bus/pci/devices cannot be read: %m");
        /* Only its table of names is used; the functions are read through the directory fds that later writes go through. */
        struct pci_access *access = pci_alloc();
        access->warning = silent;
        access->debug = silent;
        while ((entry = dir_next(d, &r)))
                r = read_function(h, root, entry->d_name, flags & PROBE_GLANCE, access);
        pci_cleanup(access);
        return r < 0 ? error_set(e, -r, "the PCI functions cannot be read: %s", strerror(-r)) : 0;
}

void probe_pci_locked(Host *h, int root, const PciAddress *a) {
        _cleanup_free_ char *path = NULL;
        PciFunction *f = (PciFunction *) host_find_function(h, a);

        if (!f || asprintf(&path, "/sys/bus/pci/devices/%s", PCI_ADDRESS_STR(a)) < 0)
                return;
        _cleanup_close_ int dir = dir_open(root, path);
        if (dir >= 0 && !f->driver_override)
                read_locked(f, dir);
}
