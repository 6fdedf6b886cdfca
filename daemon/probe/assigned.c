/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store of assignments. A file that cannot be read is an error: ignoring it would take its controller for the host's. */
#include <errno.h>

#include "base/file.h"
#include "model/controller.h"
#include "probe/probe.h"

#define STORE "/etc/passthru/assignments.d"

static int read_one(Host *h, int root, const char *name, Error **e) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        json_error_t where;
        Assigned a;
        size_t size;

        if (asprintf(&path, STORE "/%s", name) < 0)
                return error_oom(e);
        int r = file_read(root, path, &text, &size);
        if (r < 0)
                return r == -ENOENT ? 0 : error_set(e, -r, "%s cannot be read: %s", path, strerror(-r));
        _cleanup_json_ json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
        if (!j)
                return error_set_full(e, EINVAL, "bad-assignment",
                                      "Repair the file, or move it away if its controller belongs to no guest.",
                                      "%s is malformed, line %d: %s", path, where.line, where.text);
        r = assigned_from_json(j, &a, e);
        if (r < 0) {
                if (e)
                        error_prefix(*e, "%s is malformed", path);
                return r;
        }
        Assigned *more = reallocarray(h->assigned, h->n_assigned + 1, sizeof *more);
        if (!more) {
                assigned_clear(&a);
                return error_oom(e);
        }
        h->assigned = more;
        more[h->n_assigned++] = a;
        return 0;
}

int probe_assigned(Host *h, int root, Error **e) {
        _cleanup_closedir_ DIR *d = dir_stream(root, STORE);
        const struct dirent *entry;
        int r = 0, listed = 0;

        if (!d)
                return errno == ENOENT ? 0 : error_set(e, errno, STORE " cannot be read: %m");
        while (r >= 0 && (entry = dir_next(d, &listed))) {
                size_t n = strlen(entry->d_name);
                if (entry->d_name[0] != '.' && n > 5 && str_equal(entry->d_name + n - 5, ".json"))
                        r = read_one(h, root, entry->d_name, e);
        }
        return listed < 0 ? error_set(e, -listed, STORE " cannot be read: %s", strerror(-listed)) : r;
}
