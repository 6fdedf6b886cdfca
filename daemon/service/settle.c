/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/settle.h"

static uint64_t least(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

uint64_t settle_due(uint64_t first, uint64_t now) {
        return least(now + SETTLE_QUIET_USEC, first + SETTLE_MOST_USEC);
}

uint64_t backoff_next(uint64_t previous) {
        return previous == 0 ? BACKOFF_LEAST_USEC : least(2 * previous, BACKOFF_MOST_USEC);
}
