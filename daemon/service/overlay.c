/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only the daemon knows, put into answers that workers read from the host. */
#include "service/jobs.h"

static const char *row_text(const json_t *row, const char *key) {
        return json_string_value(json_object_get(row, key));
}

void manager_overlay_list(const Manager *m, json_t *list) {
        const Job *j = job_find_change(m);
        json_t *row;
        size_t i;

        json_array_foreach(list, i, row)
                if (j && job_concerns(j, row_text(row, "address"), row_text(row, "guest")))
                        json_object_set_new(row, "state", json_string("busy"));
}

static char *job_sentence(const Job *j) {
        char *text;

        if (asprintf(&text, "job %llu, %s, %s, step %u of %u: %s", (unsigned long long) j->id, j->kind,
                     j->state == JOB_HUNG ? "hangs" : "runs", j->done + 1, j->total,
                     j->text ? j->text : "not begun") < 0)
                return NULL;
        return text;
}

static json_t *status_row(const char *address, const char *guest, const char *state, bool healthy,
                          const char *message) {
        return json_pack("{s:s?, s:s?, s:s, s:b, s:s?}", "address", address, "guest", guest, "state", state, "healthy",
                         healthy, "message", message);
}

static void overlay_job(const Job *j, json_t *status) {
        _cleanup_free_ char *sentence = job_sentence(j);
        json_t *row;
        size_t i;

        for (i = json_array_size(status); i-- > 0;) {
                row = json_array_get(status, i);
                if (job_concerns(j, row_text(row, "address"), row_text(row, "guest")))
                        json_array_remove(status, i);
        }
        for (i = 0; i < j->n_controllers; i++)
                json_array_append_new(status, status_row(PCI_ADDRESS_STR(&j->controllers[i]), j->guest, "busy",
                                                         j->state != JOB_HUNG, sentence));
        if (j->n_controllers == 0)
                json_array_append_new(status, status_row(NULL, j->guest, "busy", j->state != JOB_HUNG, sentence));
}

/* A row without an address is about the host: an unfinished transaction may belong to no assignment. */
void manager_overlay_status(const Manager *m, json_t *status) {
        const Job *j = job_find_change(m);

        if (j)
                overlay_job(j, status);
        if (m->state == MANAGER_RECOVERING)
                json_array_append_new(
                        status,
                        status_row(NULL, NULL, "busy", true,
                                   m->state_text ? m->state_text : "an earlier change is being finished or undone"));
        if (m->state == MANAGER_HUNG || m->state == MANAGER_FAILED)
                json_array_append_new(status,
                                      status_row(NULL, NULL, "failed", false,
                                                 m->state_text ? m->state_text
                                                               : "an earlier change could not be finished or undone"));
}
