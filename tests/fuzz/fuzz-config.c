/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Config space of a device that answers whatever it likes. */
/* covers: daemon/probe/config-space.c */
#include "fuzz.h"
#include "probe/config-space.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        PciFunction f = { .header_type = -1, .config_dead = TRI_UNKNOWN };

        config_space_decode(&f, data, size);
        assert(!f.has_serial || (f.serial != 0 && f.serial != UINT64_MAX));
        pci_function_clear(&f);
        return 0;
}
