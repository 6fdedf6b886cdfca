/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/settle.h"

#define SEC 1000000ULL
#define MSEC 1000ULL

static void one_event_waits_for_quiet(void **state) {
        (void) state;
        assert_int_equal(settle_due(7 * SEC, 7 * SEC), 7 * SEC + SETTLE_QUIET_USEC);
        assert_int_equal(settle_due(7 * SEC, 7 * SEC + 50 * MSEC), 7 * SEC + 50 * MSEC + SETTLE_QUIET_USEC);
}

/* The longest time from an event to the reading that begins after it, with events every `period`. */
static uint64_t longest_wait(uint64_t period) {
        uint64_t first = 0, due = 0, longest = 0;

        for (uint64_t now = 1 * SEC; now < 61 * SEC; now += period) {
                if (first && due <= now) {
                        longest = due - first > longest ? due - first : longest;
                        first = 0;
                }
                first = first ? first : now;
                due = settle_due(first, now);
        }
        return longest;
}

static void a_storm_does_not_put_it_off(void **state) {
        (void) state;
        for (uint64_t period = 1 * MSEC; period < SETTLE_QUIET_USEC; period += 7 * MSEC)
                assert_true(longest_wait(period) <= SETTLE_MOST_USEC);
        assert_int_equal(longest_wait(1 * SEC), SETTLE_QUIET_USEC);
}

static void attempts_become_rare(void **state) {
        uint64_t delay = backoff_next(0), total = 0;

        (void) state;
        assert_int_equal(delay, BACKOFF_LEAST_USEC);
        for (int i = 0; i < 20; i++) {
                uint64_t next = backoff_next(delay);
                assert_true(next == 2 * delay || next == BACKOFF_MOST_USEC);
                total += delay;
                delay = next;
        }
        assert_int_equal(delay, BACKOFF_MOST_USEC);
        assert_true(total > 600 * SEC); /* twenty attempts in ten minutes */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_event_waits_for_quiet),
                cmocka_unit_test(a_storm_does_not_put_it_off),
                cmocka_unit_test(attempts_become_rare),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
