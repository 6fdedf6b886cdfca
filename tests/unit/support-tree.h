/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "apply/step.h"

/*
 * A machine with one SATA controller in a directory laid out like /. Attributes are written by a small model of what
 * the kernel does; what a real kernel and libvirt do is proven in the lab.
 */

#define ADDRESS "0000:03:00.0"
#define DEVICE "sys/devices/pci0000:00/0000:00:02.0/" ADDRESS
#define STORE "etc/passthru/assignments.d"

/* Whatever the model of the kernel is to do otherwise. */
typedef enum Fault {
        FAULT_NONE,
        FAULT_BIND_IGNORED,   /* drivers_probe succeeds and binds nothing */
        FAULT_UNBIND_IGNORED, /* unbind succeeds and the driver stays */
        FAULT_WRITE,          /* EIO on the write number `at` */
        FAULT_DIE_BEFORE,     /* the process ends before the write number `at` takes effect */
        FAULT_DIE_AFTER,      /* ... after it */
} Fault;

typedef struct Tree {
        char path[64];
        int root;
        Host *host;
        Plan *plan;
        StepContext context;
        Fault fault;
        int at, writes;
} Tree;

/* The controller on ahci, nothing assigned; read into ->host. Setup and teardown of cmocka. */
int tree_make(void **state);
int tree_remove(void **state);
/* Reads it again. */
void tree_read(Tree *m);

/* The directories that lead to the path. */
void tree_make_directories(const Tree *m, const char *path);
void tree_put(const Tree *m, const char *path, const char *text);
/* With what is below it. */
void tree_remove_path(const Tree *m, const char *path);
void tree_put_link(const Tree *m, const char *path, const char *target);
void tree_assert_file(const Tree *m, const char *path, const char *expected);
void tree_assert_driver(const Tree *m, const char *expected);
void tree_set_driver(const Tree *m, const char *driver);
/* Appends a step about the controller to ->plan. */
Step *tree_add_step(Tree *m, StepKind kind, const char *before, const char *after);
/* The text of its assignment to the guest. */
char *tree_record(const Tree *m, const char *guest);
/* Puts sda behind the controller, with one partition and sg0. */
void tree_put_disk(const Tree *m);

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_make, tree_remove)
