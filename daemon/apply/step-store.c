/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The assignments, one file each below /etc/passthru/assignments.d: the one authoritative record of whose a controller
 * is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "apply/step.h"
#include "base/file.h"
#include "model/controller.h"

#define STORE_PARENT "/etc"
#define STORE_TOP "passthru"
#define STORE_DIR "assignments.d"

/* As one version of the record, so that two writings of the same compare equal. NULL: unreadable. */
static json_t *canonical(const char *text) {
        _cleanup_json_ json_t *j = text ? json_loads(text, 0, NULL) : NULL;
        Assigned a = {};

        if (!j || assigned_from_json(j, &a, NULL) < 0)
                return NULL;
        json_t *same = assigned_to_json(&a);
        assigned_clear(&a);
        return same;
}

static bool same_record(const char *a, const char *b) {
        if (!a || !b)
                return a == b;
        if (str_equal(a, b))
                return true;
        _cleanup_json_ json_t *left = canonical(a), *right = canonical(b);
        return left && right && json_equal(left, right);
}

/* Opens dir/name, making it when `create`, durably. */
static int directory_below(int dir, const char *name, bool create, int *ret) {
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0 && errno == ENOENT && create) {
                if ((mkdirat(dir, name, 0700) < 0 && errno != EEXIST) || fsync(dir) < 0)
                        return -errno;
                fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (fd < 0)
                return -errno;
        *ret = fd;
        return 0;
}

typedef struct Store {
        int parent, top, dir;
} Store;

static void store_close(Store *s) {
        closep(&s->dir);
        closep(&s->top);
        closep(&s->parent);
}

static int store_open(const StepContext *c, bool create, Store *s) {
        int r;

        s->parent = dir_open(c->root, STORE_PARENT);
        if (s->parent < 0)
                return s->parent;
        if ((r = directory_below(s->parent, STORE_TOP, create, &s->top)) < 0)
                return r;
        return directory_below(s->top, STORE_DIR, create, &s->dir);
}

static int store_error(const Step *s, int r, const char *what, Error **e) {
        return error_set_full(e, -r, NULL, "Look at the file system of /etc.",
                              "the assignment of %s cannot be %s in %s/%s/%s: %s",
                              PCI_ADDRESS_STR(&s->address), what, STORE_PARENT, STORE_TOP, STORE_DIR, strerror(-r));
}

static char *file_name(const Step *s) {
        char *name;

        return asprintf(&name, "%s.json", PCI_ADDRESS_STR(&s->address)) < 0 ? NULL : name;
}

/* What is there: NULL in *ret when there is no file. */
static int store_read(const Store *store, const char *name, char **ret) {
        int r = attr_read(store->dir, name, ret);

        if (r == -ENOENT) {
                *ret = NULL;
                return 0;
        }
        return r;
}

static int foreign(const Step *s, Error **e) {
        return error_set_full(e, ESTALE, STEP_ERROR_FOREIGN, "Plan again.",
                              "the assignment file of %s is not what it was when the plan was made",
                              PCI_ADDRESS_STR(&s->address));
}

static int store_write(const Store *store, const char *name, const char *text) {
        _cleanup_free_ char *line = NULL;

        if (asprintf(&line, "%s%s", text, text[0] && text[strlen(text) - 1] == '\n' ? "" : "\n") < 0)
                return -ENOMEM;
        return file_replace(store->dir, name, line, strlen(line), 0600);
}

int step_store(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *name = file_name(s), *found = NULL;
        _cleanup_(store_close) Store store = { -1, -1, -1 };

        if (!name || !s->after)
                return name ? error_set(e, EINVAL, "an assignment without contents") : error_oom(e);
        int r = store_open(c, /* create= */ true, &store);
        if (r < 0 || (r = store_read(&store, name, &found)) < 0)
                return store_error(s, r, "written", e);
        if (same_record(found, s->after))
                return 0;
        if (!same_record(found, s->before))
                return foreign(s, e);
        r = store_write(&store, name, s->after);
        return r < 0 ? store_error(s, r, "written", e) : 0;
}

static void tidy_files(const StepContext *c, int dir) {
        for (size_t i = 0; c->plan && i < c->plan->n_steps; i++) {
                const Step *s = &c->plan->steps[i];
                _cleanup_free_ char *name = s->kind == STEP_STORE || s->kind == STEP_UNSTORE ? file_name(s) : NULL;
                if (name)
                        file_replace_tidy(dir, name);
        }
}

void store_tidy(const StepContext *c) {
        _cleanup_(store_close) Store store = { -1, -1, -1 };

        if (store_open(c, /* create= */ false, &store) >= 0)
                tidy_files(c, store.dir);
        if (store.top >= 0)
                (void) unlinkat(store.top, STORE_DIR, AT_REMOVEDIR);
        if (store.top >= 0 && unlinkat(store.parent, STORE_TOP, AT_REMOVEDIR) == 0)
                (void) fsync(store.parent);
}

int step_unstore(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *name = file_name(s), *found = NULL;
        _cleanup_(store_close) Store store = { -1, -1, -1 };

        if (!name)
                return error_oom(e);
        int r = store_open(c, /* create= */ false, &store);
        /* Where no directory is, no file of ours is. */
        if (r < 0)
                return r == -ENOENT || r == -ENOTDIR ? 0 : store_error(s, r, "removed", e);
        if ((r = store_read(&store, name, &found)) < 0)
                return store_error(s, r, "removed", e);
        if (found && !same_record(found, s->before))
                return foreign(s, e);
        if (found && (r = file_remove(store.dir, name)) < 0)
                return store_error(s, r, "removed", e);
        store_tidy(c);
        return 0;
}
