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

int device_number_parse(const char *text, DeviceNumber *ret) {
        char tail;

        if (sscanf(text, "%u:%u%c", &ret->major, &ret->minor, &tail) != 2)
                return -EINVAL;
        return 0;
}

static int devices_add(DeviceNumber **devices, size_t *n, const char *text, bool character) {
        DeviceNumber number = { .character = character };

        if (device_number_parse(text, &number) < 0)
                return -EINVAL;
        DeviceNumber *more = reallocarray(*devices, *n + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        *devices = more;
        more[(*n)++] = number;
        return 0;
}

static int devices_add_attr(int root, DeviceNumber **devices, size_t *n, const char *dir, const char *name,
                            bool character) {
        _cleanup_free_ char *path = NULL, *text = NULL;

        if (asprintf(&path, "%s/%s/dev", dir, name) < 0)
                return -ENOMEM;
        int r = attr_read(root, path, &text);
        return r < 0 ? r : devices_add(devices, n, text, character);
}

/* Each child of `dir` that has the attribute `marker` (NULL: every child). */
static int devices_add_children(int root, DeviceNumber **devices, size_t *n, const char *dir, const char *marker,
                                bool character) {
        _cleanup_closedir_ DIR *d = dir_stream(root, dir);
        const struct dirent *entry;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = readdir(d))) {
                _cleanup_free_ char *path = NULL;
                if (entry->d_name[0] == '.')
                        continue;
                if (asprintf(&path, "%s/%s/%s", dir, entry->d_name, marker ? marker : "dev") < 0)
                        return -ENOMEM;
                if (!file_exists(root, path))
                        continue;
                int r = devices_add_attr(root, devices, n, dir, entry->d_name, character);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

int disk_devices(int root, const char *disk, DeviceNumber **ret, size_t *ret_n) {
        _cleanup_free_ char *dir = NULL, *generic = NULL;
        _cleanup_free_ DeviceNumber *devices = NULL;
        size_t n = 0;

        if (asprintf(&dir, "/sys/class/block/%s", disk) < 0 || asprintf(&generic, "%s/device/scsi_generic", dir) < 0)
                return -ENOMEM;
        int r = devices_add_attr(root, &devices, &n, "/sys/class/block", disk, false);
        if (r < 0)
                return r;
        /* The attribute that tells a partition, block/partitions/core.c */
        if ((r = devices_add_children(root, &devices, &n, dir, "partition", false)) < 0 ||
            (r = devices_add_children(root, &devices, &n, generic, NULL, true)) < 0)
                return r;
        *ret = TAKE_PTR(devices);
        *ret_n = n;
        return 0;
}

static bool is_one_of(const struct statx *s, const DeviceNumber *devices, size_t n) {
        for (size_t i = 0; i < n; i++)
                if ((devices[i].character ? S_ISCHR(s->stx_mode) : S_ISBLK(s->stx_mode)) &&
                    s->stx_rdev_major == devices[i].major && s->stx_rdev_minor == devices[i].minor)
                        return true;
        return false;
}

/* 1 when the process has one of the devices open, 0 when not, or gone meanwhile. */
static int process_has_open(int root, const char *pid, const DeviceNumber *devices, size_t n) {
        _cleanup_free_ char *path = NULL;
        const struct dirent *entry;

        if (asprintf(&path, "/proc/%s/fd", pid) < 0)
                return -ENOMEM;
        _cleanup_closedir_ DIR *d = dir_stream(root, path);
        if (!d)
                return errno == ENOENT || errno == ESRCH ? 0 : -errno;
        while ((entry = readdir(d))) {
                struct statx s;
                if (entry->d_name[0] == '.')
                        continue;
                /* A file of a dead network or FUSE server must not be asked for its attributes: that would hang. */
                if (statx(dirfd(d), entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &s) < 0)
                        continue;
                if (is_one_of(&s, devices, n))
                        return 1;
        }
        return 0;
}

static bool is_other_process(const char *name) {
        char *end;

        long pid = strtol(name, &end, 10);
        return pid > 0 && !*end && pid != (long) getpid();
}

static void print_opener(FILE *f, int root, const char *pid) {
        _cleanup_free_ char *path = NULL, *comm = NULL;

        if (asprintf(&path, "/proc/%s/comm", pid) >= 0)
                (void) attr_read(root, path, &comm);
        (void) fprintf(f, "%s%s (pid %s)", ftell(f) > 0 ? ", " : "", comm ? comm : "a process", pid);
}

static int print_openers(FILE *f, int root, const DeviceNumber *devices, size_t n, Error **e) {
        _cleanup_closedir_ DIR *d = dir_stream(root, "/proc");
        const struct dirent *entry;

        if (!d)
                return error_set(e, errno, "/proc cannot be read, so it is not known who has a disk open: %m");
        while ((entry = readdir(d))) {
                if (!is_other_process(entry->d_name))
                        continue;
                int r = process_has_open(root, entry->d_name, devices, n);
                if (r < 0)
                        return error_set(e, -r, "the open files of process %s cannot be read: %s", entry->d_name,
                                         strerror(-r));
                if (r > 0)
                        print_opener(f, root, entry->d_name);
        }
        return 0;
}

int openers_find(int root, const DeviceNumber *devices, size_t n, char **ret_who, Error **e) {
        _cleanup_free_ char *who = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&who, &size);

        if (!f)
                return error_oom(e);
        int r = print_openers(f, root, devices, n, e);
        if (fclose(f) != 0)
                return error_oom(e);
        if (r < 0)
                return r;
        *ret_who = size > 0 ? TAKE_PTR(who) : NULL;
        return 0;
}
