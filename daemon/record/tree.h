/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/host.h"
#include "record/alias.h"

/* Inside record/: the directory that is written, with names and contents under aliases. Paths begin with '/'. 0 or -errno. */

typedef struct Recorder {
        int root, target;
        const Host *host;
        Aliases *aliases;
        char *references;       /* all that names files in /dev */
        size_t files;
} Recorder;

/* One that is there already stays: two patterns, or two links, led to it. The text is also searched for devices (tree_refer). */
int tree_write(Recorder *r, const char *path, const char *data, size_t size);
int tree_write_text(Recorder *r, const char *path, const char *text, size_t size);
int tree_write_link(Recorder *r, const char *path, const char *to);
int tree_write_folder(Recorder *r, const char *path);
/* The path without links on the way, which are written as they are met. */
int tree_place(Recorder *r, const char *path, char **ret);
/* The link, and that what it leads to is there. */
int tree_copy_link(Recorder *r, const char *path);
bool tree_is_folder(Recorder *r, const char *path);
/* All that the text names in /dev is to be recorded as well. */
int tree_refer(Recorder *r, const char *text);
