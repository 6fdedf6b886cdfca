/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/host.h"

bool pci_function_is_controller(const PciFunction *f) {
        return f->class >> 16 == PCI_CLASS16_STORAGE_FIRST >> 8 && f->header_type != 1;
}

bool pci_function_is_bridge(const PciFunction *f) {
        return f->header_type == 1 || f->header_type == 2 || f->class >> 8 == PCI_CLASS16_PCI_BRIDGE;
}

bool pci_driver_is_vfio(const char *driver) {
        if (!driver)
                return false;
        /* vfio-pci and its variants: mlx5-vfio-pci, nvgrace_gpu_vfio_pci, vfio_pci_..., drivers/vfio/pci */
        return strstr(driver, "vfio-pci") || strstr(driver, "vfio_pci");
}

bool pci_driver_is_vfio_safe(const char *driver) {
        return !driver || pci_driver_is_vfio(driver) || str_equal(driver, "pci-stub") || str_equal(driver, "pcieport");
}

bool pci_driver_is_uio(const char *driver) {
        return driver && strstr(driver, "uio");
}

bool pci_driver_is_reserving(const char *driver) {
        return driver && (pci_driver_is_vfio_safe(driver) || pci_driver_is_uio(driver));
}

const char *pci_function_kind(const PciFunction *f) {
        /* PCI Code and ID Assignment Specification 1.11, section 1.2 */
        static const char *const kinds[] = { "scsi", "ide", "storage", "ipi", "raid", "ata", "sata", "sas", "nvme" };
        unsigned subclass = f->class >> 8 & 0xff;

        return subclass < ELEMENTSOF(kinds) ? kinds[subclass] : "storage";
}

char *pci_function_model(const PciFunction *f) {
        char *model;
        int r;

        if (f->vendor_name && f->device_name)
                r = asprintf(&model, "%s %s", f->vendor_name, f->device_name);
        else if (f->vendor_name)
                r = asprintf(&model, "%s device %04x", f->vendor_name, f->device);
        else
                r = asprintf(&model, "%04x:%04x", f->vendor, f->device);
        return r < 0 ? NULL : model;
}

static bool address_in(const PciAddress *a, const PciAddress *set, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (pci_address_equal(a, &set[i]))
                        return true;
        return false;
}

Tri host_group_isolated(const Host *h, const PciFunction *f, const PciAddress *also, size_t n_also) {
        const IommuGroup *g = host_find_group(h, f->group);
        bool member = false; /* a group that does not even list the controller was not read */
        Tri isolated = TRI_YES;

        for (size_t i = 0; g && i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                member |= m == f;
                if (m == f || address_in(&g->members[i], also, n_also))
                        continue;
                if (m && !pci_driver_is_vfio_safe(m->driver))
                        return TRI_NO;
                if (!m)
                        isolated = TRI_UNKNOWN;
        }
        return member ? isolated : TRI_UNKNOWN;
}
