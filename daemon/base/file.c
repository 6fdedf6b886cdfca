/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define OPEN_ATTEMPTS 1000

int file_open(int root, const char *path, int flags) {
        struct open_how how = { .flags = (unsigned) flags | O_CLOEXEC };

        if (root == AT_FDCWD) {
                int fd = open(path, flags | O_CLOEXEC);
                return fd < 0 ? -errno : fd;
        }
        how.resolve = RESOLVE_IN_ROOT;
        int fd = -1;
        /* EAGAIN: somewhere on the machine something was renamed or mounted while ".." was followed (openat2(2)); that is so for
         * moments only. */
        for (int attempt = 0; attempt < OPEN_ATTEMPTS && fd < 0 && (attempt == 0 || errno == EAGAIN); attempt++)
                fd = (int) syscall(SYS_openat2, root, path, &how, sizeof how);
        return fd < 0 ? -errno : fd;
}

int dir_open(int root, const char *path) {
        return file_open(root, path, O_RDONLY | O_DIRECTORY);
}

DIR *dir_stream(int root, const char *path) {
        _cleanup_close_ int fd = dir_open(root, path);

        if (fd < 0) {
                errno = -fd;
                return NULL;
        }
        DIR *d = fdopendir(fd);
        if (d)
                (void) TAKE_FD(fd);
        return d;
}

/* readdir(3) tells an error from the end by errno alone. A directory that is gone meanwhile, as of a process, just ends. */
const struct dirent *dir_next(DIR *d, int *r) {
        if (!d || *r < 0)
                return NULL;
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry && errno != 0)
                *r = -errno;
        return entry;
}

int file_read(int root, const char *path, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = file_open(root, path, O_RDONLY);
        _cleanup_free_ char *buffer = NULL;
        size_t size = 0, allocated = 0;

        if (fd < 0)
                return fd;
        for (;;) {
                if (allocated - size < 2048) {
                        allocated = allocated ? allocated * 2 : 4096;
                        if (allocated > 2 * FILE_SIZE_LIMIT)
                                return -E2BIG;
                        char *bigger = realloc(buffer, allocated);
                        if (!bigger)
                                return -ENOMEM;
                        buffer = bigger;
                }
                ssize_t n = read(fd, buffer + size, allocated - size - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t) n;
                if (size > FILE_SIZE_LIMIT)
                        return -E2BIG;
        }
        buffer[size] = 0;
        if (ret_size)
                *ret_size = size;
        *ret = TAKE_PTR(buffer);
        return 0;
}

static size_t trimmed(const char *text, size_t size) {
        while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == 0))
                size--;
        return size;
}

static int attr_read_long(int root, const char *path, char **ret) {
        char *value;
        size_t size;

        int r = file_read(root, path, &value, &size);
        if (r < 0)
                return r;
        value[trimmed(value, size)] = 0;
        *ret = value;
        return 0;
}

/* An attribute is at most a page and comes whole with one read (fs/sysfs/file.c, sysfs_kf_seq_show); most of a reading of the
 * machine are these. */
int attr_read(int root, const char *path, char **ret) {
        _cleanup_close_ int fd = file_open(root, path, O_RDONLY);
        char page[4096];

        if (fd < 0)
                return fd;
        ssize_t n;
        do
                n = read(fd, page, sizeof page);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if ((size_t) n == sizeof page)
                return attr_read_long(root, path, ret);
        *ret = strndup(page, trimmed(page, (size_t) n));
        return *ret ? 0 : -ENOMEM;
}

int attr_read_u64(int root, const char *path, unsigned long long *ret) {
        _cleanup_free_ char *value = NULL;
        char *end;

        int r = attr_read(root, path, &value);
        if (r < 0)
                return r;
        errno = 0;
        unsigned long long n = strtoull(value, &end, 0);
        if (errno || end == value || *end || *value == '-')
                return -EINVAL;
        *ret = n;
        return 0;
}

/* Opens the link itself, so that only its parents are resolved inside the root. */
int link_read(int root, const char *path, char **ret) {
        _cleanup_close_ int fd = file_open(root, path, O_PATH | O_NOFOLLOW);
        char target[4096];

        if (fd < 0)
                return fd;
        ssize_t n = readlinkat(fd, "", target, sizeof target - 1);
        if (n < 0)
                return -errno;
        target[n] = 0;
        *ret = strdup(target);
        return *ret ? 0 : -ENOMEM;
}

int link_read_name(int root, const char *path, char **ret) {
        _cleanup_free_ char *target = NULL;

        int r = link_read(root, path, &target);
        if (r < 0)
                return r;
        const char *slash = strrchr(target, '/');
        *ret = strdup(slash ? slash + 1 : target);
        return *ret ? 0 : -ENOMEM;
}

static int fd_path(int fd, char **ret) {
        char link[64], target[4096];

        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0)
                return -errno;
        target[n] = 0;
        *ret = strdup(target);
        return *ret ? 0 : -ENOMEM;
}

int path_resolve(int root, const char *path, char **ret) {
        _cleanup_close_ int fd = file_open(root, path, O_PATH);

        return fd < 0 ? fd : fd_resolve(root, fd, ret);
}

int fd_resolve(int root, int fd, char **ret) {
        _cleanup_free_ char *whole = NULL, *prefix = NULL;

        int r = fd_path(fd, &whole);
        if (r < 0)
                return r;
        size_t skip = 0;
        if (root != AT_FDCWD) {
                r = fd_path(root, &prefix);
                if (r < 0)
                        return r;
                skip = str_equal(prefix, "/") ? 0 : strlen(prefix);
                if (strncmp(whole, prefix, skip) != 0)
                        return -EXDEV;
        }
        *ret = strdup(whole[skip] ? whole + skip : "/");
        return *ret ? 0 : -ENOMEM;
}

bool file_exists(int root, const char *path) {
        _cleanup_close_ int fd = file_open(root, path, O_PATH);

        return fd >= 0;
}

int attr_write(int dir, const char *name, const char *value) {
        _cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        ssize_t n = write(fd, value, strlen(value));
        if (n < 0)
                return -errno;
        return (size_t) n == strlen(value) ? 0 : -EIO;
}

static int write_all(int fd, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, data, size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
        }
        return 0;
}

static int file_replace_from(int dir, const char *name, const char *temporary, const char *data, size_t size, unsigned mode) {
        _cleanup_close_ int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);

        if (fd < 0)
                return -errno;
        int r = write_all(fd, data, size);
        if (r < 0)
                return r;
        if (fchmod(fd, mode) < 0 || fsync(fd) < 0 || renameat(dir, temporary, dir, name) < 0)
                return -errno;
        return fsync(dir) < 0 ? -errno : 0;
}

static char *temporary_name(const char *name) {
        char *temporary;

        return asprintf(&temporary, ".%s.new", name) < 0 ? NULL : temporary;
}

int file_replace(int dir, const char *name, const char *data, size_t size, unsigned mode) {
        _cleanup_free_ char *temporary = temporary_name(name);

        if (!temporary)
                return -ENOMEM;
        int r = file_replace_from(dir, name, temporary, data, size, mode);
        if (r < 0)
                (void) unlinkat(dir, temporary, 0);
        return r;
}

void file_replace_tidy(int dir, const char *name) {
        _cleanup_free_ char *temporary = temporary_name(name);

        if (temporary && unlinkat(dir, temporary, 0) == 0)
                (void) fsync(dir);
}

int file_remove(int dir, const char *name) {
        if (unlinkat(dir, name, 0) < 0)
                return -errno;
        return fsync(dir) < 0 ? -errno : 0;
}
