/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who has a device open, from /proc/PID/fd. An exclusive open excludes only other exclusive openers (mounts, swap, md,
 * dm); a plain open(2) of the block device is seen nowhere else.
 */
#include "probe/openers.h"

#include <errno.h>
#include <fcntl.h>
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
} Walk;

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

/* 0 also when the process is gone meanwhile. */
static int visit_process(const Walk *w, int root, const char *pid) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;
        int r = 0;

        if (asprintf(&path, "/proc/%s/fd", pid) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        if (!d)
                return errno == ENOENT || errno == ESRCH ? 0 : -errno;
        while ((entry = dir_next(d, &r))) {
                struct statx s;
                if (entry->d_name[0] == '.')
                        continue;
                /* A file of a dead network or FUSE server must not be asked for its attributes: that would hang. */
                if (statx(dirfd(d), entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &s) >= 0)
                        r = visit_file(w, root, pid, &s);
        }
        return r;
}

static bool is_other_process(const char *name) {
        char *end;

        long pid = strtol(name, &end, 10);
        return pid > 0 && !*end && pid != (long) getpid();
}

int openers_walk(int root, const DeviceNumber *devices, size_t n, OpenerVisitor visit, void *userdata, Error **e) {
        const Walk w = { devices, n, visit, userdata };
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
