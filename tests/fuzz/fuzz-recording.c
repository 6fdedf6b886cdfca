/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The facts of a recording: what was read and written again reads the same. */
/* covers: daemon/probe/recording.c [!p]* */
#include "fuzz.h"
#include "probe/recording.h"

/* A machine with one disk, and the facts. NULL when they are refused. */
static Host *read_facts(const json_t *j) {
        _cleanup_(host_freep) Host *h = host_new();
        _cleanup_error_ Error *e = NULL;

        assert(h);
        h->disks = calloc(1, sizeof *h->disks);
        assert(h->disks);
        h->disks[0] = (Disk){ .name = strdup("sda"), .controller = { 0, 3, 0, 0 }, .exclusive = TRI_UNKNOWN };
        h->n_disks = 1;
        if (recording_from_json(j, h, &e) >= 0)
                return TAKE_PTR(h);
        assert(e && e->message);
        return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_t *j = json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES, NULL);
        _cleanup_(host_freep) Host *h = j ? read_facts(j) : NULL;
        _cleanup_json_ json_t *written = h ? recording_to_json(h) : NULL;
        _cleanup_(host_freep) Host *again = written ? read_facts(written) : NULL;
        _cleanup_json_ json_t *same = again ? recording_to_json(again) : NULL;

        assert(!h || (written && again && same && json_equal(written, same)));
        return 0;
}
