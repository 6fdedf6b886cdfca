/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Config space of a device that answers whatever it likes: all of it at once, and as it is read from its file. */
/* covers: daemon/probe/config-space.c */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "probe/config-space.h"

static void decode(const uint8_t *data, size_t size) {
        PciFunction f = { .header_type = -1, .config_dead = TRI_UNKNOWN };

        config_space_decode(&f, data, size);
        assert(!f.has_serial || (f.serial != 0 && f.serial != UINT64_MAX));
        pci_function_clear(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static uint8_t config[CONFIG_SPACE_SIZE];
        static int fd = -1;

        if (fd < 0)
                fd = memfd_create("config", 0);
        decode(data, size);
        if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) < 0)
                abort();
        size_t known = config_space_read(fd, false, config);
        assert(known <= sizeof config);
        decode(config, known);
        return 0;
}
