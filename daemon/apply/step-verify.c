/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * verify: does with VFIO what QEMU will do, and lets go of everything again. Opening the device resets it where it can
 * be reset (vfio_pci_core_enable, drivers/vfio/pci/vfio_pci_core.c); no reset is asked for here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "apply/step.h"
#include "base/file.h"

#define NODE_WAIT_MS 5000
/* More than any kernel or machine answers with */
#define INFO_SIZE_MAX (1u << 20)

typedef struct vfio_iommu_type1_info IommuInfo;

/* -- opening ------------------------------------------------------------------------------------------------------- */

static int watch_nodes(const StepContext *c) {
        _cleanup_close_ int dir = dir_open(c->root, "/dev/vfio"), watch = -1;
        char path[32];

        if (dir < 0)
                return dir;
        watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
        if (watch < 0 || inotify_add_watch(watch, path, IN_CREATE | IN_ATTRIB | IN_MOVED_TO) < 0)
                return -errno;
        return TAKE_FD(watch);
}

/* Opens the group; its node may come a little after the bind. */
static int group_open_wait(const StepContext *c, const char *path) {
        _cleanup_close_ int watch = watch_nodes(c);
        long end = monotonic_ms() + NODE_WAIT_MS;

        if (watch < 0)
                return watch;
        for (;;) {
                char events[4096];
                int fd = file_open(c->root, path, O_RDWR);
                long left = end - monotonic_ms();
                if (fd != -ENOENT || left <= 0)
                        return fd;
                struct pollfd p = { .fd = watch, .events = POLLIN };
                (void) poll(&p, 1, (int) left);
                while (read(watch, events, sizeof events) > 0)
                        ;
        }
}

static int container_open(const StepContext *c, int *ret, Error **e) {
        _cleanup_close_ int fd = file_open(c->root, "/dev/vfio/vfio", O_RDWR);

        if (fd < 0)
                return error_set_full(e, -fd, "no-vfio", "Load the module vfio-pci.",
                                      "/dev/vfio/vfio cannot be opened: %s",
                                      strerror(-fd));
        int version = ioctl(fd, VFIO_GET_API_VERSION);
        if (version != VFIO_API_VERSION)
                return error_set(e, EPROTO, "the kernel's VFIO speaks version %d, not %d", version, VFIO_API_VERSION);
        if (ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0)
                return error_set_full(e, ENOTSUP, "no-vfio", "Load the module vfio_iommu_type1.",
                                      "the kernel's VFIO offers no type 1 (version 2) IOMMU");
        *ret = TAKE_FD(fd);
        return 0;
}

/* -- the group ----------------------------------------------------------------------------------------------------- */

static int check_noiommu(const StepContext *c, int group, Error **e) {
        _cleanup_free_ char *path = NULL, *name = NULL;
        const IommuGroup *g = host_find_group(c->host, group);

        if (asprintf(&path, "/sys/kernel/iommu_groups/%d/name", group) < 0)
                return error_oom(e);
        (void) attr_read(c->root, path, &name);
        if ((g && g->noiommu) || str_equal(name, "vfio-noiommu"))
                return error_set_full(e, EPERM, "refused", "Enable the IOMMU in the firmware and the kernel.",
                                      "IOMMU group %d is a no-IOMMU group: it isolates nothing", group);
        return 0;
}

static void print_member(FILE *f, const StepContext *c, const PciAddress *a) {
        _cleanup_free_ char *path = NULL, *driver = NULL;

        if (asprintf(&path, "/sys/bus/pci/devices/%s/driver", PCI_ADDRESS_STR(a)) < 0 ||
            link_read_name(c->root, path, &driver) < 0 || pci_driver_is_vfio_safe(driver))
                return;
        (void) fprintf(f, "%s%s (%s)", ftell(f) > 0 ? ", " : "", PCI_ADDRESS_STR(a), driver);
}

static int error_not_viable(const StepContext *c, int group, Error **e) {
        _cleanup_free_ char *members = NULL;
        const IommuGroup *g = host_find_group(c->host, group);
        size_t size = 0;
        FILE *f = open_memstream(&members, &size);

        if (!f)
                return error_oom(e);
        for (size_t i = 0; g && i < g->n_members; i++)
                print_member(f, c, &g->members[i]);
        if (fclose(f) != 0)
                return error_oom(e);
        return error_set_full(e, EPERM, "refused", "Move the controller to a slot with an IOMMU group of its own.",
                              "IOMMU group %d is not viable: on host drivers are %s", group,
                              size > 0 ? members : "members that cannot be named");
}

static bool group_has_direct_region(const StepContext *c, int group) {
        const IommuGroup *g = host_find_group(c->host, group);

        for (size_t i = 0; g && i < g->n_regions; i++)
                if (g->regions[i].kind == REGION_DIRECT)
                        return true;
        return false;
}

static int error_iommu(const StepContext *c, int group, int code, Error **e) {
        if (group_has_direct_region(c, group))
                return error_set_full(e, code, "refused", "Ask the maker of the machine for firmware without it.",
                                      "the IOMMU refuses group %d: firmware reserves memory for it (RMRR or IVMD): %s",
                                      group, strerror(code));
        if (code == EPERM)
                return error_set_full(e, code, "refused", "Enable interrupt remapping (and x2APIC) in the firmware.",
                                      "the IOMMU refuses group %d: interrupts are not remapped, or firmware demands "
                                      "a direct mapping; the kernel's log names which", group);
        return error_set(e, code, "the IOMMU cannot take group %d: %s", group, strerror(code));
}

static int group_attach(const StepContext *c, int number, int group, int container, Error **e) {
        struct vfio_group_status status = { .argsz = sizeof status };

        if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
                return error_set(e, errno, "the status of IOMMU group %d cannot be read: %m", number);
        if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
                return error_not_viable(c, number, e);
        if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0) {
                /* iommu_group_claim_dma_owner (drivers/iommu/iommu.c): EPERM when a host driver owns a member, EINVAL
                 * for a direct region */
                int code = errno;
                return code == EPERM ? error_not_viable(c, number, e) : error_iommu(c, number, code, e);
        }
        if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
                return error_iommu(c, number, errno, e);
        return 0;
}

/* -- the device ---------------------------------------------------------------------------------------------------- */

/* Which devices a hot reset would hit; not every device has one (ENODEV: no slot or bus to reset). */
static int read_reset_scope(int device, const char *address, Error **e) {
        _cleanup_free_ struct vfio_pci_hot_reset_info *info = NULL;
        size_t size = sizeof *info;

        for (int i = 0; i < 3; i++) {
                struct vfio_pci_hot_reset_info *bigger = realloc(info, size);
                if (!bigger)
                        return error_oom(e);
                info = bigger;
                memset(info, 0, size);
                info->argsz = (uint32_t) size;
                if (ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info) == 0 || errno == ENODEV || errno == ENOTTY)
                        return 0;
                if (errno != ENOSPC || info->count > 4096)
                        break;
                size = sizeof *info + info->count * sizeof info->devices[0];
        }
        return error_set(e, errno, "the scope of a reset of %s cannot be read: %m", address);
}

static int check_device(int group, const char *address, Error **e) {
        struct vfio_device_info info = { .argsz = sizeof info };
        _cleanup_close_ int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);

        if (device < 0)
                return error_set_full(e, errno, NULL, "The kernel's log (journalctl -k) tells why.",
                                      "%s cannot be opened through VFIO: %m", address);
        if (ioctl(device, VFIO_DEVICE_GET_INFO, &info) < 0)
                return error_set(e, errno, "VFIO tells nothing about %s: %m", address);
        if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
                return error_set(e, EPROTO, "VFIO does not see a PCI device in %s", address);
        return read_reset_scope(device, address, e);
}

/* -- mapping ------------------------------------------------------------------------------------------------------- */

static int iommu_info(int container, IommuInfo **ret, Error **e) {
        _cleanup_free_ IommuInfo *info = NULL;
        size_t size = sizeof *info;

        for (int i = 0; i < 3; i++) {
                IommuInfo *bigger = realloc(info, size);
                if (!bigger)
                        return error_oom(e);
                info = bigger;
                memset(info, 0, size);
                info->argsz = (uint32_t) size;
                if (ioctl(container, VFIO_IOMMU_GET_INFO, info) < 0)
                        return error_set(e, errno, "VFIO tells nothing about the IOMMU: %m");
                if (info->argsz <= size) {
                        info->argsz = (uint32_t) size;
                        *ret = TAKE_PTR(info);
                        return 0;
                }
                if (info->argsz > INFO_SIZE_MAX)
                        break;
                size = info->argsz;
        }
        return error_set(e, EPROTO, "VFIO does not finish telling about the IOMMU");
}

/* The first address of the range that a mapping of this size may begin at; false when it does not fit. */
static bool range_fits(const struct vfio_iova_range *range, uint64_t size, uint64_t *ret) {
        uint64_t start = (range->start + size - 1) / size * size;

        if (start < range->start || start > range->end || range->end - start < size - 1)
                return false;
        *ret = start;
        return true;
}

/* The ranges lie at whatever offset the kernel has put them: they are copied out, not pointed to. */
static bool first_in_ranges(const char *capability, size_t room, uint64_t size, uint64_t *ret) {
        struct vfio_iommu_type1_info_cap_iova_range ranges;
        struct vfio_iova_range range;

        if (room < sizeof ranges)
                return false;
        memcpy(&ranges, capability, sizeof ranges);
        for (size_t i = 0; i < ranges.nr_iovas && sizeof ranges + (i + 1) * sizeof range <= room; i++) {
                memcpy(&range, capability + sizeof ranges + i * sizeof range, sizeof range);
                if (range_fits(&range, size, ret))
                        return true;
        }
        return false;
}

/* The first allowed address for a mapping of this size, from the chain of capabilities. False when the kernel lists
 * none. */
static bool first_iova(const IommuInfo *info, uint64_t size, uint64_t *ret) {
        const char *base = (const char *) info;
        uint32_t offset = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
        struct vfio_info_cap_header header;

        while (offset >= sizeof *info && offset <= info->argsz - sizeof header) {
                memcpy(&header, base + offset, sizeof header);
                if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE &&
                    first_in_ranges(base + offset, info->argsz - offset, size, ret))
                        return true;
                if (header.next <= offset)
                        break;
                offset = header.next;
        }
        return false;
}

static int map_and_unmap(int container, void *page, uint64_t size, uint64_t iova, Error **e) {
        struct vfio_iommu_type1_dma_map map = {
                .argsz = sizeof map,
                .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                .vaddr = (uintptr_t) page,
                .iova = iova,
                .size = size,
        };
        struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = iova, .size = size };

        if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) < 0)
                return error_set(e, errno, "no memory can be mapped for the device at 0x%llx: %m",
                                 (unsigned long long) iova);
        if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 || unmap.size != size)
                return error_set(e, errno ? errno : EIO, "memory mapped for the device cannot be unmapped again");
        return 0;
}

static int check_mapping(int container, Error **e) {
        _cleanup_free_ IommuInfo *info = NULL;
        uint64_t size = (uint64_t) sysconf(_SC_PAGESIZE), iova;

        int r = iommu_info(container, &info, e);
        if (r < 0)
                return r;
        /* Kernels before 5.4 list no ranges; then any address clear of the legacy and interrupt windows does. */
        if (!first_iova(info, size, &iova))
                iova = 1024 * 1024;
        void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
                return error_oom(e);
        r = map_and_unmap(container, page, size, iova, e);
        (void) munmap(page, size);
        return r;
}

/* -- the step ------------------------------------------------------------------------------------------------------ */

int step_verify(StepContext *c, const Step *s, Error **e) {
        _cleanup_close_ int container = -1, group = -1;
        _cleanup_free_ char *path = NULL;
        int r;

        if ((r = check_noiommu(c, s->group, e)) < 0)
                return r;
        if (asprintf(&path, "/dev/vfio/%d", s->group) < 0)
                return error_oom(e);
        group = group_open_wait(c, path);
        /* A group opens once only (vfio_group_fops_open, drivers/vfio/group.c): a guest has it, so it works. */
        if (group == -EBUSY)
                return 0;
        if (group < 0)
                return error_set_full(e, -group, "no-vfio", "The kernel's log (journalctl -k) tells why.",
                                      "%s cannot be opened: %s", path, strerror(-group));
        if ((r = container_open(c, &container, e)) < 0 || (r = group_attach(c, s->group, group, container, e)) < 0 ||
            (r = check_device(group, PCI_ADDRESS_STR(&s->address), e)) < 0)
                return r;
        return check_mapping(container, e);
}
