/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IOMMU groups as the kernel made them: they are the truth, nothing here derives them. */
#include <errno.h>

#include "base/file.h"
#include "probe/openers.h"
#include "probe/probe.h"

static RegionKind region_kind(const char *s) {
        /* iommu_group_resv_type_string, drivers/iommu/iommu.c */
        static const struct {
                const char *name;
                RegionKind kind;
        } kinds[] = {
                { "direct", REGION_DIRECT },     { "direct-relaxable", REGION_DIRECT_RELAXABLE },
                { "reserved", REGION_RESERVED }, { "msi", REGION_MSI },
        };

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (str_equal(kinds[i].name, s))
                        return kinds[i].kind;
        return REGION_OTHER;
}

static int add_region(IommuGroup *g, const char *line) {
        unsigned long long start, end;
        char kind[32];

        if (sscanf(line, "%llx %llx %31s", &start, &end, kind) != 3)
                return 0;
        ReservedRegion *more = reallocarray(g->regions, g->n_regions + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        g->regions = more;
        more[g->n_regions++] = (ReservedRegion){ start, end, region_kind(kind) };
        return 0;
}

static int read_regions(IommuGroup *g, int dir) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;

        int r = attr_read(dir, "reserved_regions", &text);
        if (r < 0)
                return r == -ENOENT || r == -EACCES ? 0 : r;
        g->regions_known = true;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if ((r = add_region(g, line)) < 0)
                        return r;
        return 0;
}

static int read_members(IommuGroup *g, int dir) {
        _cleanup_closedir_ DIR *d = dir_stream(dir, "devices");
        const struct dirent *entry;
        PciAddress a;
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = dir_next(d, &r))) {
                if (pci_address_parse(entry->d_name, &a) < 0)
                        continue;
                PciAddress *more = reallocarray(g->members, g->n_members + 1, sizeof *more);
                if (!more)
                        return -ENOMEM;
                g->members = more;
                more[g->n_members++] = a;
        }
        return r;
}

static int read_group(Host *h, int groups, const char *name) {
        _cleanup_free_ char *label = NULL;
        IommuGroup g = { .open = TRI_UNKNOWN };
        char *end;

        long n = strtol(name, &end, 10);
        if (end == name || *end || n < 0 || n > INT32_MAX)
                return 0;
        _cleanup_close_ int dir = dir_open(groups, name);
        if (dir < 0)
                return 0;
        g.number = (int) n;
        if (attr_read(dir, "name", &label) >= 0)
                g.noiommu = str_equal(label, "vfio-noiommu");
        int r = read_members(&g, dir);
        if (r >= 0)
                r = read_regions(&g, dir);
        IommuGroup *more = r < 0 ? NULL : reallocarray(h->groups, h->n_groups + 1, sizeof *more);
        if (!more) {
                iommu_group_clear(&g);
                return r < 0 ? r : -ENOMEM;
        }
        h->groups = more;
        more[h->n_groups++] = g;
        return 0;
}

static int read_groups(Host *h, int root) {
        _cleanup_close_ int groups = dir_open(root, "/sys/kernel/iommu_groups");
        _cleanup_closedir_ DIR *d = dir_stream(root, "/sys/kernel/iommu_groups");
        const struct dirent *entry;
        int r = 0;

        if (!d || groups < 0)
                return 0;
        while ((entry = dir_next(d, &r)))
                r = read_group(h, groups, entry->d_name);
        return r;
}

static int read_units(Host *h, int root) {
        _cleanup_closedir_ DIR *d = dir_stream(root, "/sys/class/iommu");
        const struct dirent *entry;
        int r = 0;

        h->iommu_class_known = d ? TRI_YES : file_exists(root, "/sys/class") ? TRI_YES : TRI_UNKNOWN;
        while ((entry = dir_next(d, &r))) {
                if (entry->d_name[0] == '.')
                        continue;
                char **more = reallocarray(h->iommu_units, h->n_iommu_units + 1, sizeof *more);
                if (!more || !(more[h->n_iommu_units] = strdup(entry->d_name))) {
                        h->iommu_units = more ? more : h->iommu_units;
                        return -ENOMEM;
                }
                h->iommu_units = more;
                h->n_iommu_units++;
        }
        return r;
}

int probe_iommu(Host *h, int root, Error **e) {
        int r = read_groups(h, root);

        if (r >= 0)
                r = read_units(h, root);
        if (r < 0)
                return error_set(e, -r, "the IOMMU groups cannot be read: %s", strerror(-r));
        if (file_exists(root, "/sys/firmware/acpi/tables")) {
                h->firmware_table = file_exists(root, "/sys/firmware/acpi/tables/DMAR")   ? "DMAR"
                                    : file_exists(root, "/sys/firmware/acpi/tables/IVRS") ? "IVRS" : NULL;
                h->firmware_iommu = h->firmware_table ? TRI_YES : TRI_NO;
        }
        return 0;
}

/* ---- who uses a group ---- */

static bool group_is_assigned(const Host *h, const IommuGroup *g) {
        for (size_t i = 0; i < g->n_members; i++)
                if (host_find_assigned(h, &g->members[i]))
                        return true;
        return false;
}

/* The group itself is not opened to see whether that works: a guest that starts at this moment would not get it. QEMU's
 * node may be another one, in a /dev of its own, but it has the same number. */
static int probe_group_open(IommuGroup *g, int root, Error **e) {
        _cleanup_free_ char *path = NULL, *text = NULL, *who = NULL;
        DeviceNumber number = { .character = true };

        if (asprintf(&path, "/sys/class/vfio/%s%d/dev", g->noiommu ? "noiommu-" : "", g->number) < 0)
                return error_oom(e);
        int r = attr_read(root, path, &text);
        if (r == -ENOENT)
                g->open = TRI_NO;
        if (r < 0 || device_number_parse(text, &number) < 0 || openers_find(root, &number, 1, &who, NULL) < 0)
                return 0;
        g->open = who ? TRI_YES : TRI_NO;
        return 0;
}

int probe_groups_open(Host *h, int root, Error **e) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < h->n_groups; i++)
                if (group_is_assigned(h, &h->groups[i]))
                        r = probe_group_open(&h->groups[i], root, e);
        return r;
}
