/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel command line, modules and parameters. */
#include <fcntl.h>
#include <libkmod.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "probe/probe.h"

static Tri module_known(const char *name) {
        struct kmod_ctx *ctx = kmod_new(NULL, NULL);
        struct kmod_list *list = NULL;

        if (!ctx)
                return TRI_UNKNOWN;
        /* An alias of its own name covers modules and what is built in (modules.builtin). */
        int r = kmod_module_new_from_lookup(ctx, name, &list);
        Tri known = r < 0 ? TRI_UNKNOWN : list ? TRI_YES : TRI_NO;
        kmod_module_unref_list(list);
        kmod_unref(ctx);
        return known;
}

static Tri parameter(int root, const char *path) {
        _cleanup_free_ char *value = NULL;

        if (attr_read(root, path, &value) < 0)
                return TRI_UNKNOWN;
        return *value == 'Y' || *value == '1' ? TRI_YES : TRI_NO;
}

static char *architecture_of(int root, bool live) {
        _cleanup_free_ char *cpuinfo = NULL;
        struct utsname u;

        if (live)
                return uname(&u) < 0 ? NULL : strdup(u.machine);
        /* A recording has no uname; the long mode flag tells x86_64. */
        if (file_read(root, "/proc/cpuinfo", &cpuinfo, NULL) < 0)
                return NULL;
        return strstr(cpuinfo, "vendor_id") ? strdup("x86_64") : NULL;
}

/* Kernel 4.19 and later say how much all sizes of huge pages take (hugetlb_report_meminfo, mm/hugetlb.c). */
static uint64_t memory_line(const char *meminfo, const char *name) {
        const char *line = strstr(meminfo, name);
        unsigned long long kib = 0;

        if (line)
                (void) sscanf(line + strlen(name), "%llu", &kib);
        return (uint64_t) kib << 10;
}

static void read_memory(Host *h, int root) {
        _cleanup_free_ char *text = NULL;

        if (file_read(root, "/proc/meminfo", &text, NULL) < 0)
                return;
        h->memory = memory_line(text, "MemTotal:");
        h->huge_memory = memory_line(text, "Hugetlb:");
}

int probe_system(Host *h, int root, bool live, Error **e) {
        (void) e;
        (void) attr_read(root, "/proc/cmdline", &h->command_line);
        (void) attr_read(root, "/proc/sys/kernel/random/boot_id", &h->boot_id);
        h->architecture = architecture_of(root, live);
        read_memory(h, root);
        h->vfio_noiommu = parameter(root, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
        if (file_exists(root, "/sys/bus/pci/drivers/vfio-pci") || file_exists(root, "/sys/module/vfio_pci"))
                h->vfio_pci = TRI_YES;
        else if (live)
                h->vfio_pci = module_known("vfio-pci");
        return 0;
}
