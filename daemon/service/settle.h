/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/* When to act on what happened: pure functions of times, in microseconds of one clock. */

/* One controller that comes or goes makes dozens of events: its disks, partitions and drivers. */
#define SETTLE_QUIET_USEC (100 * 1000ULL)
/* A storm must not put the next reading off for ever. With that reading, and one before it that is still under way, it
 * stays below a second. */
#define SETTLE_MOST_USEC (400 * 1000ULL)

/* When to read, given the first event that has not been read yet, and the last one, which is now. */
uint64_t settle_due(uint64_t first, uint64_t now);

#define BACKOFF_LEAST_USEC (250 * 1000ULL)
#define BACKOFF_MOST_USEC (60 * 1000000ULL)

/* How long to wait before the next attempt. previous: how long before the last one; 0: there was none, or it went
 * well. */
uint64_t backoff_next(uint64_t previous);
