/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Files, sysfs attributes and links, always relative to a directory fd, so that a whole machine can be read under any root
 * and no path is looked up twice. Nothing here knows what the files mean.
 */

#include "base/error.h"

/* One attribute or small file is never larger than this; a larger one is an error (E2BIG). */
#define FILE_SIZE_LIMIT (16u * 1024 * 1024)

/* Opens the directory `path` below the directory fd `root` (absolute paths and links resolve inside root, RESOLVE_IN_ROOT), O_PATH-free, CLOEXEC.
 * Returns the fd or -errno. With root AT_FDCWD the live system's own root is meant. */
int dir_open(int root, const char *path);
/* The same, any file, given open(2) flags. */
int file_open(int root, const char *path, int flags);
/* DIR stream of a directory below root; NULL with errno set. */
DIR *dir_stream(int root, const char *path);
/* The next entry; NULL at the end, when *r < 0, and on an error, which goes to *r: a list that breaks off is not taken for a short
 * one. No stream (d NULL) has no entries. */
const struct dirent *dir_next(DIR *d, int *r);

/* Whole file as a NUL-terminated string of *ret_size bytes (ret_size may be NULL). 0 or -errno. */
int file_read(int root, const char *path, char **ret, size_t *ret_size);
/* The same with the trailing newline removed. */
int attr_read(int root, const char *path, char **ret);
/* Number in C notation ("0x8086", "12"). -EINVAL when it is none. */
int attr_read_u64(int root, const char *path, unsigned long long *ret);
/* Target of a symbolic link as it is written there; -EINVAL when it is none. */
int link_read(int root, const char *path, char **ret);
/* Last component of the target of a symbolic link. -ENOENT when absent. */
int link_read_name(int root, const char *path, char **ret);
/* Canonical path of `path` inside root, without the root itself: "/devices/..." style, begins with '/'. */
int path_resolve(int root, const char *path, char **ret);
/* The same of what fd has open. */
int fd_resolve(int root, int fd, char **ret);
bool file_exists(int root, const char *path);

/* Writes one sysfs or proc attribute with a single write(2). dir is a directory fd. 0 or -errno. */
int attr_write(int dir, const char *name, const char *value);

/* Replaces dir/name: temporary file, fsync, rename, fsync of the directory. 0 or -errno; on failure the old file is whole. */
int file_replace(int dir, const char *name, const char *data, size_t size, unsigned mode);
/* Removes what a file_replace of dir/name left that was killed before it was done. */
void file_replace_tidy(int dir, const char *name);
/* Removes dir/name and syncs the directory; -ENOENT when absent. */
int file_remove(int dir, const char *name);
