/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "service/manager.h"

/*
 * Guests that start, stop, change or crash: the worker "watch" waits for libvirt's events. It ends when libvirt ends or
 * hangs, and is started again when libvirt's socket appears, or after a growing while. Whether it has reached libvirt
 * is also how the daemon knows whether libvirt can be asked at all.
 */

int watch_new(Manager *m, Watch **ret, Error **e);
Watch *watch_free(Watch *w);

/* Why libvirt cannot be asked now; NULL when it can, or has not been tried. */
const char *watch_problem(const Watch *w);
/* What a reading found out: it got an answer (problem NULL), or none. In the latter case nobody else is sent to wait
 * for libvirt until it has answered the watch. */
void watch_learn(Watch *w, uint64_t reading, const char *problem);
