/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "service/manager.h"

/* Hardware that comes, goes or changes its driver: the kernel says so, nothing is polled. */
int events_new(Manager *m, Events **ret, Error **e);
Events *events_free(Events *ev);

/* Something has happened: the controllers are read again as soon as it is quiet, and half a second later at most. */
void events_note(Events *ev);
