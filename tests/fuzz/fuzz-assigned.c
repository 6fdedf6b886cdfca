/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A record of an assignment: what was read and written again reads the same. */
/* covers: daemon/model/assigned.c assigned_from_json assigned_fill assigned_to_json read_* *_json */
#include "fuzz.h"
#include "model/controller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_t *j = json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES, NULL);
        _cleanup_error_ Error *e = NULL;
        Assigned a, again;

        if (!j)
                return 0;
        if (assigned_from_json(j, &a, &e) < 0) {
                assert(e && e->message);
                return 0;
        }
        _cleanup_json_ json_t *written = assigned_to_json(&a);
        assert(written && assigned_from_json(written, &again, &e) >= 0);
        _cleanup_json_ json_t *same = assigned_to_json(&again);
        assert(json_equal(written, same));
        assigned_clear(&a);
        assigned_clear(&again);
        return 0;
}
