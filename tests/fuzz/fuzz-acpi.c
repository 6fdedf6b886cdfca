/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A firmware's tables, and whom they name on a machine with two functions. */
/* covers: daemon/probe/acpi.c acpi_parse read_* add_* is_ivhd number slice page_up */
/* covers: daemon/model/firmware.c */
#include "fuzz.h"
#include "model/host.h"
#include "probe/acpi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        PciFunction functions[] = {
                { .address = { 0, 0, 2, 0 } },
                { .address = { 0, 3, 0, 0 }, .parent = { 0, 0, 2, 0 }, .has_parent = true },
        };
        const Host h = { .functions = functions, .n_functions = ELEMENTSOF(functions) };
        _cleanup_(firmware_clear) Firmware f = {};
        _cleanup_error_ Error *e = NULL;

        if (acpi_parse(data, size, &f, &e) < 0) {
                assert(e && e->message && f.n_regions == 0);
                return 0;
        }
        for (size_t i = 0; i < f.n_regions; i++) {
                assert(f.regions[i].start <= f.regions[i].end);
                for (size_t j = 0; j < h.n_functions; j++)
                        (void) host_region_names(&h, &f.regions[i], &h.functions[j]);
        }
        return 0;
}
