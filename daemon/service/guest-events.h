/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"

/* libvirt's events, for the worker that waits for them: every call may block for as long as libvirt likes. One at a
 * time in a process: libvirt's event loop is global. */

typedef struct GuestEvents GuestEvents;

/* guest or device (an alias) may be NULL. */
typedef void (*GuestEventHandler)(void *userdata, const char *kind, const char *guest, const char *device);

/* Once it returns no event is missed. */
int guest_events_open(const char *uri, GuestEventHandler handler, void *userdata, GuestEvents **ret, Error **e);
/* Waits until there is something to do, and does it. Negative when libvirt has ended or answers no more. */
int guest_events_wait(GuestEvents *g, Error **e);
/* Returns once libvirt has answered something that is about no guest: one that is busy starting holds nothing up. */
int guest_events_ask(GuestEvents *g, Error **e);
GuestEvents *guest_events_close(GuestEvents *g);
DEFINE_CLEANUP(GuestEvents *, guest_events_close)
