/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Says whether the kernel would give an IOMMU group to a guest: "yes", or "no" when a driver of the host uses it
 * (VFIO_GROUP_GET_STATUS, Documentation/driver-api/vfio.rst). */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include <linux/vfio.h>

int main(int argc, char **argv) {
        struct vfio_group_status status = { .argsz = sizeof status };
        int fd = argc > 1 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;

        if (fd < 0 || ioctl(fd, VFIO_GROUP_GET_STATUS, &status) < 0) {
                perror(argc > 1 ? argv[1] : "viable");
                return 1;
        }
        (void) puts(status.flags & VFIO_GROUP_FLAGS_VIABLE ? "yes" : "no");
        return 0;
}
