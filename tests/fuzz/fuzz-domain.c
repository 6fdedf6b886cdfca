/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's XML from anywhere: as it is read, and as it is recorded. */
/* covers: daemon/probe/guest-xml.c */
/* covers: daemon/record/definition.c */
#include "fuzz.h"
#include "probe/probe.h"
#include "record/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(aliases_freep) Aliases *a = aliases_new(false);
        _cleanup_free_ char *xml = fuzz_text(data, size), *kept = NULL;
        _cleanup_error_ Error *e = NULL;
        Guest g = {};

        int r = guest_from_xml(xml, false, &g, &e);
        assert(r >= 0 || (e && e->message));
        if (r >= 0)
                (void) guest_from_xml(xml, true, &g, NULL);
        guest_clear(&g);
        assert(a);
        kept = definition_redact(xml, a);
        return 0;
}
