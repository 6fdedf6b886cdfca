/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Cleanup attributes and the few macros that every file uses. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <dirent.h>
#include <jansson.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))

/* Hand over ownership: yields the value and leaves the variable empty. */
#define TAKE_PTR(p)                              \
        ({                                       \
                __typeof__(p) *_pp = &(p);       \
                __typeof__(p) _taken = *_pp;     \
                *_pp = NULL;                     \
                _taken;                          \
        })
#define TAKE_FD(fd)                              \
        ({                                       \
                int *_fdp = &(fd), _taken = *_fdp; \
                *_fdp = -1;                      \
                _taken;                          \
        })

/* Makes `void NAMEp(TYPE *)` for _cleanup_ from a destructor that takes the value. */
#define DEFINE_CLEANUP(type, func)               \
        static inline void func##p(type *p) {    \
                if (*p)                          \
                        func(*p);                \
        }

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(DIR *, closedir)

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)
#define _cleanup_json_ _cleanup_(json_decrefp) /* jansson.h has it */

/* Milliseconds of a clock that nobody sets. */
static inline long monotonic_ms(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (long) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline bool str_equal(const char *a, const char *b) {
        return a && b ? strcmp(a, b) == 0 : a == b;
}
