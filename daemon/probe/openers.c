/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who has a device open, from /proc/PID/fd, or mapped into memory, from /proc/PID/map_files. An exclusive open excludes only
 * other exclusive openers (mounts, swap, md, dm); a plain open(2) of the block device is seen nowhere else.
 */
#include "probe/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

int device_number_parse(const char *text, DeviceNumber *ret) {
        char tail;

        if (sscanf(text, "%u:%u%c", &ret->major, &ret->minor, &tail) != 2)
                return -EINVAL;
        return 0;
}

static bool is_device(const struct statx *s, const DeviceNumber *d) {
        return (d->character ? S_ISCHR(s->stx_mode) : S_ISBLK(s->stx_mode)) && s->stx_rdev_major == d->major &&
               s->stx_rdev_minor == d->minor;
}

typedef struct Walk {
        const DeviceNumber *devices;
        size_t n;
        OpenerVisitor visit;
        void *userdata;
        void *others;         /* tsearch(3): mapped files that are none of the devices, as /proc/PID/maps names them */
        size_t n_others;
} Walk;

/* Most files are mapped by many processes. A user can map more than these, with long names; they are looked at each time. */
#define OTHERS_MAX 10000

static bool is_gone(int r) {
        return r == -ENOENT || r == -ESRCH;
}

static int visit_file(const Walk *w, int root, const char *pid, const struct statx *s) {
        _cleanup_free_ char *path = NULL, *command = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < w->n; i++) {
                if (!is_device(s, &w->devices[i]))
                        continue;
                if (!path && asprintf(&path, "/proc/%s/comm", pid) >= 0 && attr_read(root, path, &command) >= 0)
                        text_clean(command);
                r = w->visit(w->userdata, pid, command ? command : "a process", i);
        }
        return r;
}

/* A file of a dead network or FUSE server must not be asked for its attributes: that would hang. One of a user's FUSE refuses. */
static int look_at(int dir, const char *name, struct statx *ret) {
        return statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, ret) < 0 ? -errno : 0;
}

/* folder: "/proc/812" or "/proc/812/task/813". *ret_n: how many files are open. 0 also when the process is gone meanwhile. */
static int visit_open(const Walk *w, int root, const char *pid, const char *folder, size_t *ret_n) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&path, "%s/fd", folder) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        if (!d)
                return is_gone(-errno) ? 0 : -errno;
        while ((entry = dir_next(d, &r))) {
                struct statx s;
                if (entry->d_name[0] == '.')
                        continue;
                (*ret_n)++;
                if (look_at(dirfd(d), entry->d_name, &s) >= 0)
                        r = visit_file(w, root, pid, &s);
        }
        return r;
}

/* -- mappings -------------------------------------------------------------------------------------------------------- */

static int compare_text(const void *a, const void *b) {
        return strcmp(a, b);
}

/* 1 when it was new. */
static int add_other(Walk *w, const char *file) {
        if (w->n_others == OTHERS_MAX)
                return 0;
        char *copy = strdup(file);
        if (!copy || !tsearch(copy, &w->others, compare_text)) {
                free(copy);
                return -ENOMEM;
        }
        w->n_others++;
        return 0;
}

/* proc_pid_maps(5): "7f00-8f00 rw-s 00000000 00:05 12   /dev/sdb". The numbers are those of the node's file system and inode, not
 * those that the node stands for, so each file is looked at. */
static int visit_mapping(Walk *w, int root, const char *pid, int dir, const char *line) {
        unsigned long long start, end, inode;
        char range[40];
        struct statx s;
        int file = 0;

        if (sscanf(line, "%llx-%llx %*s %*s %n%*s %llu", &start, &end, &file, &inode) != 3 || inode == 0)
                return 0;
        if (tfind(line + file, &w->others, compare_text))
                return 0;
        (void) snprintf(range, sizeof range, "%llx-%llx", start, end);
        int r = look_at(dir, range, &s);
        if (r < 0)
                return r == -EPERM ? r : 0; /* that needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN */
        for (size_t i = 0; i < w->n; i++)
                if (is_device(&s, &w->devices[i]))
                        return visit_file(w, root, pid, &s);
        return add_other(w, line + file);
}

static int open_text(int root, const char *path, FILE **ret) {
        _cleanup_close_ int fd = file_open(root, path, O_RDONLY);

        if (fd < 0)
                return fd;
        if (!(*ret = fdopen(fd, "r")))
                return -ENOMEM;
        (void) TAKE_FD(fd);
        return 0;
}

/* A mapping stays when the file that it was made of is closed. Not read as one text: any user can have a very long one. A process
 * outside of a container that this runs in (EACCES) hides what it has open as well. */
static int visit_mappings(Walk *w, int root, const char *pid, const char *task) {
        _cleanup_free_ char *path = NULL, *folder = NULL, *line = NULL;
        _cleanup_fclose_ FILE *f = NULL;
        size_t size = 0;

        if (asprintf(&path, "/proc/%s/maps", task) < 0 || asprintf(&folder, "/proc/%s/map_files", task) < 0)
                return -ENOMEM;
        int r = open_text(root, path, &f);
        _cleanup_close_ int dir = r < 0 ? r : dir_open(root, folder);
        if (dir < 0)
                return is_gone(dir) || dir == -EACCES ? 0 : dir;
        while (r >= 0 && getline(&line, &size, f) >= 0)
                r = visit_mapping(w, root, pid, dir, line);
        return r >= 0 && ferror(f) && !is_gone(-errno) ? -EIO : r;
}

/* -- processes ------------------------------------------------------------------------------------------------------- */

/* Those of a process whose first thread has ended, which has no files of its own any more (fs/proc/fd.c: its files are NULL). */
static int visit_threads(Walk *w, int root, const char *pid) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;
        size_t n = 0;
        int r = 0;

        if (asprintf(&path, "/proc/%s/task", pid) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        while ((entry = dir_next(d, &r))) {
                _cleanup_free_ char *folder = NULL;
                if (entry->d_name[0] == '.' || str_equal(entry->d_name, pid))
                        continue;
                if (asprintf(&folder, "%s/%s", path, entry->d_name) < 0)
                        return -ENOMEM;
                r = visit_open(w, root, pid, folder, &n);
                if (r >= 0)
                        r = visit_mappings(w, root, pid, entry->d_name);
        }
        return r;
}

static int visit_process(Walk *w, int root, const char *pid) {
        _cleanup_free_ char *folder = NULL;
        size_t n = 0;

        if (asprintf(&folder, "/proc/%s", pid) < 0)
                return -ENOMEM;
        int r = visit_open(w, root, pid, folder, &n);
        if (r >= 0)
                r = visit_mappings(w, root, pid, pid);
        return r < 0 || n > 0 ? r : visit_threads(w, root, pid);
}

static bool is_other_process(const char *name) {
        char *end;

        long pid = strtol(name, &end, 10);
        return pid > 0 && !*end && pid != (long) getpid();
}

static void walk_clear(Walk *w) {
        tdestroy(w->others, free);
}

int openers_walk(int root, const DeviceNumber *devices, size_t n, OpenerVisitor visit, void *userdata, Error **e) {
        _cleanup_(walk_clear) Walk w = { .devices = devices, .n = n, .visit = visit, .userdata = userdata };
        _cleanup_closedir_ DIR *d = dir_stream(root, "/proc");
        const struct dirent *entry;
        int listed = d ? 0 : -errno;

        while ((entry = dir_next(d, &listed))) {
                if (!is_other_process(entry->d_name))
                        continue;
                int r = visit_process(&w, root, entry->d_name);
                if (r < 0)
                        return error_set(e, -r, "the open files of process %s cannot be read: %s", entry->d_name,
                                         strerror(-r));
        }
        if (listed < 0)
                return error_set(e, -listed, "/proc cannot be read, so it is not known who has a disk open: %s", strerror(-listed));
        return 0;
}

/* -- in words -------------------------------------------------------------------------------------------------------- */

typedef struct Names {
        FILE *stream;
        char last[16]; /* the process that was named last */
} Names;

static int add_name(void *userdata, const char *pid, const char *command, size_t device) {
        Names *names = userdata;

        (void) device;
        if (str_equal(names->last, pid))
                return 0;
        (void) fprintf(names->stream, "%s%s (pid %s)", names->last[0] ? ", " : "", command, pid);
        (void) snprintf(names->last, sizeof names->last, "%s", pid);
        return 0;
}

int openers_find(int root, const DeviceNumber *devices, size_t n, char **ret_who, Error **e) {
        _cleanup_free_ char *who = NULL;
        size_t size = 0;
        Names names = { .stream = open_memstream(&who, &size) };

        if (!names.stream)
                return error_oom(e);
        int r = openers_walk(root, devices, n, add_name, &names, e);
        if (fclose(names.stream) != 0)
                return error_oom(e);
        if (r < 0)
                return r;
        *ret_who = size > 0 ? TAKE_PTR(who) : NULL;
        return 0;
}
