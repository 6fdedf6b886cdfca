/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"

#define LINKS_MAX 40 /* as the kernel: MAXSYMLINKS, include/linux/namei.h */

/* -- writing into the recording ------------------------------------------------------------------------------------------ */

/* 0 also when it is there already; a link in its place could lead out of the recording. */
static int make_folder(int target, const char *path) {
        struct stat st;

        if (mkdirat(target, path, 0755) >= 0)
                return 0;
        if (errno != EEXIST || fstatat(target, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* The folders above `path` (without a leading '/'). */
static int make_folders(int target, char *path) {
        for (char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
                *p = 0;
                int r = make_folder(target, path);
                *p = '/';
                if (r < 0)
                        return r;
        }
        return 0;
}

static int alias_path(Recorder *r, const char *path, char **ret) {
        bool kernel = strncmp(path, "/sys/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
        size_t size;

        return aliases_text(r->aliases, path, strlen(path), kernel, ret, &size);
}

int tree_write(Recorder *r, const char *path, const char *data, size_t size) {
        _cleanup_free_ char *name = NULL;

        int s = alias_path(r, path, &name);
        if (s < 0 || (s = make_folders(r->target, name + 1)) < 0)
                return s;
        _cleanup_close_ int fd = openat(r->target, name + 1, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
                return errno == EEXIST ? 0 : -errno;
        r->files++;
        while (size > 0) {
                ssize_t n = write(fd, data, size);
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
        }
        return 0;
}

int tree_refer(Recorder *r, const char *text) {
        char *more;

        if (asprintf(&more, "%s%s\n", r->references ? r->references : "", text) < 0)
                return -ENOMEM;
        free(r->references);
        r->references = more;
        return 0;
}

int tree_write_text(Recorder *r, const char *path, const char *text, size_t size) {
        _cleanup_free_ char *replaced = NULL;
        size_t replaced_size;

        int s = aliases_text(r->aliases, text, size, false, &replaced, &replaced_size);
        if (s >= 0 && strstr(text, "/dev/"))
                s = tree_refer(r, text);
        return s < 0 ? s : tree_write(r, path, replaced, replaced_size);
}

int tree_write_link(Recorder *r, const char *path, const char *to) {
        _cleanup_free_ char *name = NULL, *target = NULL;
        bool kernel = strncmp(path, "/sys/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
        size_t size;

        int s = alias_path(r, path, &name);
        if (s < 0 || (s = aliases_text(r->aliases, to, strlen(to), kernel, &target, &size)) < 0 ||
            (s = make_folders(r->target, name + 1)) < 0)
                return s;
        return symlinkat(target, r->target, name + 1) < 0 && errno != EEXIST ? -errno : 0;
}

int tree_write_folder(Recorder *r, const char *path) {
        _cleanup_free_ char *name = NULL, *below = NULL;

        int s = alias_path(r, path, &name);
        if (s < 0)
                return s;
        return asprintf(&below, "%s/", name + 1) < 0 ? -ENOMEM : make_folders(r->target, below);
}

/* -- paths --------------------------------------------------------------------------------------------------------------- */

/* "/a/b" and "c" → "/a/b/c"; and ".." → "/a" */
static int step(char **done, const char *part) {
        char *next, *slash = strrchr(*done, '/');

        if (str_equal(part, ".") || !*part)
                return 0;
        if (str_equal(part, "..")) {
                if (slash)
                        *slash = 0;
                return 0;
        }
        if (asprintf(&next, "%s/%s", *done, part) < 0)
                return -ENOMEM;
        free(*done);
        *done = next;
        return 0;
}

int tree_place(Recorder *r, const char *path, char **ret) {
        _cleanup_free_ char *done = strdup(""), *rest = strdup(path);
        char *part = rest;

        for (int links = 0; part && *part && done;) {
                _cleanup_free_ char *next = NULL, *to = NULL, *longer = NULL;
                char *end = part + strcspn(part, "/");
                bool more = *end;
                *end = 0;
                if (!(next = strdup(done)) || step(&next, part) < 0)
                        return -ENOMEM;
                part = more ? end + 1 : end;
                if (str_equal(next, done) || link_read(r->root, *next ? next : "/", &to) < 0) {
                        free(done);
                        done = TAKE_PTR(next);
                        continue;
                }
                int s = ++links > LINKS_MAX ? -ELOOP : tree_write_link(r, next, to);
                if (s < 0)
                        return s;
                if (*to == '/')
                        *done = 0;
                if (asprintf(&longer, "%s/%s", to, part) < 0)
                        return -ENOMEM;
                free(rest);
                rest = part = TAKE_PTR(longer);
        }
        *ret = TAKE_PTR(done);
        return *ret ? 0 : -ENOMEM;
}

bool tree_is_folder(Recorder *r, const char *path) {
        _cleanup_close_ int fd = file_open(r->root, path, O_PATH | O_DIRECTORY);

        return fd >= 0;
}

/* Device nodes become empty files: only their names count. */
int tree_copy_link(Recorder *r, const char *path) {
        _cleanup_free_ char *real = NULL;

        int s = tree_place(r, path, &real);
        if (s < 0 || !*real)
                return s;
        if (tree_is_folder(r, real))
                return tree_write_folder(r, real);
        return strncmp(real, "/dev/", 5) == 0 && file_exists(r->root, real) ? tree_write(r, real, "", 0) : 0;
}
