/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the processor, the kernel's build and the memory are, as far as handing a controller over depends on it. */
#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/probe.h"

/* -- processor and interrupts -------------------------------------------------------------------------------------------- */

/* A word of the "flags" line, which all processors have alike. */
static bool has_flag(const char *flags, const char *flag) {
        size_t n = strlen(flag), end = strcspn(flags, "\n");

        for (const char *s = strstr(flags, flag); s && s < flags + end; s = strstr(s + n, flag))
                if (s[-1] == ' ' && (s[n] == ' ' || s[n] == '\n' || s[n] == 0))
                        return true;
        return false;
}

static void read_processor(Host *h, int root) {
        _cleanup_free_ char *info = NULL;
        const char *flags = file_read(root, "/proc/cpuinfo", &info, NULL) < 0 ? NULL : strstr(info, "\nflags");

        if (flags)
                h->cpu_virtualization = has_flag(flags + 1, "vmx") || has_flag(flags + 1, "svm") ? TRI_YES : TRI_NO;
        /* /dev may be another one in a recording; the misc device is there whenever /dev/kvm is */
        if (file_exists(root, "/sys/class/misc"))
                h->kvm = file_exists(root, "/sys/class/misc/kvm") ? TRI_YES : TRI_NO;
}

/* Chips are named IR-... once remapping is in use, on Intel and AMD (drivers/iommu/intel/irq_remapping.c,
 * drivers/iommu/amd/iommu.c, msi_parent_ops.prefix); an IOMMU's ecap only tells that it could. */
static void read_interrupts(Host *h, int root) {
        _cleanup_free_ char *text = NULL;

        if (file_read(root, "/proc/interrupts", &text, NULL) >= 0)
                h->interrupts_remapped = strstr(text, " IR-") ? TRI_YES : TRI_NO;
}

static int read_unsafe(Host *h, int root) {
        static const char *const parameters[] = {
                "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
                "/sys/module/iommufd/parameters/allow_unsafe_interrupts",
        };

        for (size_t i = 0; i < ELEMENTSOF(parameters) && !h->unsafe_interrupts; i++) {
                _cleanup_free_ char *value = NULL;
                if (attr_read(root, parameters[i], &value) >= 0 && (*value == 'Y' || *value == '1') &&
                    !(h->unsafe_interrupts = strdup(parameters[i])))
                        return -ENOMEM;
        }
        return 0;
}

/* -- the kernel's build -------------------------------------------------------------------------------------------------- */

static bool has_line(const char *text, const char *line) {
        size_t n = strlen(line);

        for (const char *s = strstr(text, line); s; s = strstr(s + n, line))
                if ((s == text || s[-1] == '\n') && (s[n] == '\n' || s[n] == 0))
                        return true;
        return false;
}

/* drivers/iommu/intel/Kconfig, drivers/iommu/amd/Kconfig: AMD's has no option of its own to be off by default. */
static void read_configuration(Host *h, int root) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        bool intel = str_equal(h->firmware_table, "DMAR");

        if (!h->firmware_table || asprintf(&path, "/boot/config-%s", h->kernel_release) < 0 || file_read(root, path, &text, NULL) < 0)
                return;
        h->iommu_built = has_line(text, intel ? "CONFIG_INTEL_IOMMU=y" : "CONFIG_AMD_IOMMU=y") ? TRI_YES : TRI_NO;
        h->iommu_default_on = !intel || has_line(text, "CONFIG_INTEL_IOMMU_DEFAULT_ON=y") ? TRI_YES : TRI_NO;
}

static int read_kernel(Host *h, int root) {
        _cleanup_free_ char *path = NULL;

        if (attr_read(root, "/proc/sys/kernel/osrelease", &h->kernel_release) < 0)
                return 0;
        /* It becomes part of paths below. */
        if (strchr(h->kernel_release, '/')) {
                free(h->kernel_release);
                h->kernel_release = NULL;
                return 0;
        }
        text_clean(h->kernel_release);
        read_configuration(h, root);
        /* The text file, not libkmod's index of it: it is read through the root's fd, and a recording can hold it. */
        if (asprintf(&path, "/lib/modules/%s/modules.builtin", h->kernel_release) < 0)
                return -ENOMEM;
        (void) file_read(root, path, &h->builtin_modules, NULL);
        return 0;
}

/* -- memory -------------------------------------------------------------------------------------------------------------- */

#define EDAC "/sys/devices/system/edac/mc"

/* Documentation/admin-guide/ras.rst: dimm_edac_mode. Firmware-first EDAC (ghes_edac) lists modules without ECC, too. */
static bool dimms_have_ecc(int root, const char *controller, int *r) {
        _cleanup_free_ char *path = NULL;
        bool ecc = false, told = false;
        const struct dirent *entry;

        if (asprintf(&path, EDAC "/%s", controller) < 0)
                return false;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        while ((entry = dir_next(d, r))) {
                _cleanup_free_ char *file = NULL, *mode = NULL;
                if (asprintf(&file, "%s/%s/dimm_edac_mode", path, entry->d_name) < 0 || attr_read(root, file, &mode) < 0)
                        continue;
                told = true;
                ecc |= !str_equal(mode, "None") && !str_equal(mode, "Unknown");
        }
        return ecc || !told;
}

static void read_ecc(Host *h, int root) {
        _cleanup_closedir_ DIR *d = dir_stream(root, EDAC);
        const struct dirent *entry;
        int r = 0;

        if (d || file_exists(root, "/sys/devices/system/cpu"))
                h->ecc = TRI_NO;
        while ((entry = dir_next(d, &r)))
                if (strncmp(entry->d_name, "mc", 2) == 0 && entry->d_name[2] >= '0' && entry->d_name[2] <= '9' &&
                    dimms_have_ecc(root, entry->d_name, &r))
                        h->ecc = TRI_YES;
        if (r < 0)
                h->ecc = TRI_UNKNOWN;
}

int probe_platform(Host *h, int root, Error **e) {
        _cleanup_free_ char *idle = NULL;

        read_processor(h, root);
        read_interrupts(h, root);
        read_ecc(h, root);
        (void) attr_read(root, "/sys/devices/system/node/online", &h->numa_nodes);
        text_clean(h->numa_nodes);
        if (attr_read(root, "/sys/module/vfio_pci/parameters/disable_idle_d3", &idle) >= 0)
                h->idle_d3_disabled = *idle == 'Y' ? TRI_YES : TRI_NO;
        return read_unsafe(h, root) < 0 || read_kernel(h, root) < 0 ? error_oom(e) : 0;
}
