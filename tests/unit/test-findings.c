/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people read of `preflight`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/check.h"
#include "findings.h"
#include "model/finding.h"

#define A "0000:03:00.0"
#define B "0000:04:00.0"
#define ONBOARD "0000:00:1f.2"

static void add(FindingList *l, const char *check, CheckKind kind, Verdict v, const char *subject) {
        Finding *f = finding_add(l, check, kind, v, subject, "message of %s", check);

        if (v == VERDICT_PASS)
                return;
        assert_int_equal(finding_evidence(f, "evidence of %s", check), 0);
        assert_int_equal(finding_remedy(f, "Remedy of %s.", check), 0);
}

/* A passes but for what is asked for, which may be about another subject. */
static FindingList healthy(void) {
        FindingList l = {};

        add(&l, "iommu-enabled", CHECK_IMPOSSIBLE, VERDICT_PASS, NULL);
        add(&l, "host-disk-use", CHECK_HARD, VERDICT_PASS, A);
        add(&l, "group-isolated", CHECK_IMPOSSIBLE, VERDICT_PASS, A);
        return l;
}

static char *show(FindingList *l, FindingsView view) {
        _cleanup_json_ json_t *result = finding_list_to_json(l);
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(result);
        assert_int_equal(findings_print(out, result, &view), 0);
        assert_int_equal(fclose(out), 0);
        finding_list_clear(l);
        return text;
}

static void assert_shown(FindingList l, FindingsView view, const char *expected) {
        _cleanup_free_ char *text = show(&l, view);

        assert_string_equal(text, expected);
}

/* The last line. */
static void assert_verdict(FindingList l, bool together, const char *expected) {
        _cleanup_free_ char *text = show(&l, (FindingsView){ .together = together });
        char *end = strrchr(text, '\n');

        assert_string_equal(end, "\n");
        *end = 0;
        const char *line = strrchr(text, '\n');
        assert_string_equal(line ? line + 1 : text, expected);
}

static void passes_are_counted(void **state) {
        (void) state;
        assert_shown(healthy(), (FindingsView){},
                     "this host\n"
                     "  pass  1 check\n"
                     A "\n"
                     "  pass  2 checks\n"
                     A " can be assigned.\n");
        assert_shown(healthy(), (FindingsView){ .verbose = true },
                     "this host\n"
                     "  pass  iommu-enabled  message of iommu-enabled\n"
                     A "\n"
                     "  pass  host-disk-use  message of host-disk-use\n"
                     "  pass  group-isolated message of group-isolated\n"
                     A " can be assigned.\n");
}

static void groups_and_order(void **state) {
        FindingList l = {};

        (void) state;
        add(&l, "smart-health", CHECK_ACCEPTABLE, VERDICT_INFO, B);
        add(&l, "reset-method", CHECK_ACCEPTABLE, VERDICT_WARN, B);
        add(&l, "sr-iov", CHECK_IMPOSSIBLE, VERDICT_PASS, A);
        add(&l, "guest-rom", CHECK_ACCEPTABLE, VERDICT_PASS, "nas");
        add(&l, "numa-local", CHECK_ACCEPTABLE, VERDICT_SKIP, B);
        add(&l, "guest-conflict", CHECK_HARD, VERDICT_FAIL, B);
        add(&l, "ecc-memory", CHECK_ACCEPTABLE, VERDICT_INFO, NULL);
        assert_shown(l, (FindingsView){},
                     "this host\n"
                     "  info  ecc-memory     message of ecc-memory\n"
                     "        evidence of ecc-memory\n"
                     "        -> Remedy of ecc-memory.\n"
                     "guest nas\n"
                     "  pass  1 check\n"
                     A "\n"
                     "  pass  1 check\n"
                     B "\n"
                     "  fail  guest-conflict message of guest-conflict\n"
                     "        evidence of guest-conflict\n"
                     "        -> Remedy of guest-conflict.\n"
                     "  warn  reset-method   message of reset-method\n"
                     "        evidence of reset-method\n"
                     "        -> Remedy of reset-method.\n"
                     "  skip  numa-local     message of numa-local\n"
                     "        evidence of numa-local\n"
                     "        -> Remedy of numa-local.\n"
                     "  info  smart-health   message of smart-health\n"
                     "        evidence of smart-health\n"
                     "        -> Remedy of smart-health.\n"
                     "1 of 2 controllers can be assigned: " A ".\n");
}

static void lines_fit_the_terminal(void **state) {
        FindingList l = healthy();
        Finding *f = finding_add(&l, "host-disk-use", CHECK_HARD, VERDICT_WARN, A,
                                 "disk sda is in use: sda1 → md0 → /srv/a/path/that/is/longer/than/the/terminal/is/wide and more");

        (void) state;
        assert_int_equal(finding_evidence(f, "mount: sda1 → md0 → /srv, and so on to the end of it"), 0);
        assert_int_equal(finding_remedy(f, "Unmount it first, and take it out of fstab if it is there."), 0);
        assert_shown(l, (FindingsView){ .width = 48 },
                     "this host\n"
                     "  pass  1 check\n"
                     A "\n"
                     "  warn  host-disk-use disk sda is in use: sda1 →\n"
                     "        md0 →\n"
                     "        /srv/a/path/that/is/longer/than/the/terminal/is/wide\n"
                     "        and more\n"
                     "        mount: sda1 → md0 → /srv, and so on to\n"
                     "          the end of it\n"
                     "        -> Unmount it first, and take it out of\n"
                     "           fstab if it is there.\n"
                     "  pass  2 checks\n"
                     A " can be assigned, with 1 warning.\n");
}

static void colour_only_where_wanted(void **state) {
        FindingList l = healthy();
        _cleanup_free_ char *text = NULL;

        (void) state;
        add(&l, "reset-method", CHECK_ACCEPTABLE, VERDICT_WARN, A);
        text = show(&l, (FindingsView){ .color = true });
        assert_non_null(strstr(text, "  \033[33mwarn\033[0m  reset-method"));
        assert_non_null(strstr(text, "\033[32m" A " can be assigned, with 1 warning.\n\033[0m"));
}

/* A remote daemon may say anything. */
static void hostile_text(void **state) {
        _cleanup_json_ json_t *result = json_pack("{s:[{s:s, s:s, s:s, s:s, s:[s]}, {}, n]}", "findings", "subject", "a\nb\033[2J",
                                                  "verdict", "worse", "message", "x\033]0;title\ay", "check", "c\033[1m", "evidence",
                                                  "\r\n");
        const FindingsView view = { .width = 1, .verbose = true };
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        (void) state;
        assert_non_null(result);
        assert_int_equal(findings_print(out, result, &view), 0);
        assert_int_equal(fclose(out), 0);
        assert_null(strpbrk(text, "\033\a\r"));
}

static void verdicts_of_one(void **state) {
        FindingList l;

        (void) state;
        l = healthy();
        add(&l, "host-disk-use", CHECK_HARD, VERDICT_FAIL, A);
        add(&l, "host-disk-use", CHECK_HARD, VERDICT_FAIL, A);
        add(&l, "group-platform", CHECK_ACCEPTABLE, VERDICT_FAIL, A);
        add(&l, "vfio-available", CHECK_IMPOSSIBLE, VERDICT_FAIL, NULL);
        assert_verdict(l, false, A " cannot be assigned: vfio-available, host-disk-use.");
        l = healthy();
        add(&l, "group-platform", CHECK_ACCEPTABLE, VERDICT_FAIL, A);
        add(&l, "acs-override", CHECK_ACCEPTABLE, VERDICT_FAIL, NULL);
        assert_verdict(l, false, A " can be assigned only with --accept acs-override --accept group-platform.");
        l = healthy();
        add(&l, "guest-conflict", CHECK_HARD, VERDICT_SKIP, A);
        add(&l, "numa-local", CHECK_ACCEPTABLE, VERDICT_SKIP, A);
        assert_verdict(l, false, "It is not known whether " A " can be assigned, so it is refused; skipped: guest-conflict.");
        l = healthy();
        add(&l, "numa-local", CHECK_ACCEPTABLE, VERDICT_SKIP, A);
        assert_verdict(l, false, A " can be assigned.");
}

static void verdicts_of_several(void **state) {
        FindingList l = healthy();

        (void) state;
        add(&l, "group-platform", CHECK_ACCEPTABLE, VERDICT_FAIL, B);
        assert_verdict(l, false, "2 of 2 controllers can be assigned: " A ", " B " (with --accept group-platform).");
        l = healthy();
        add(&l, "guest-conflict", CHECK_HARD, VERDICT_SKIP, B);
        assert_verdict(l, false, "1 of 2 controllers can be assigned: " A "; of 1 checks were skipped that have to pass.");
        l = healthy();
        add(&l, "iommu-enabled", CHECK_IMPOSSIBLE, VERDICT_FAIL, NULL);
        add(&l, "sr-iov", CHECK_IMPOSSIBLE, VERDICT_PASS, B);
        assert_verdict(l, false, "None of the 2 controllers can be assigned.");
        l = healthy();
        add(&l, "sr-iov", CHECK_IMPOSSIBLE, VERDICT_PASS, B);
        assert_verdict(l, true, A " and " B " can be assigned together.");
        l = healthy();
        add(&l, "host-disk-use", CHECK_HARD, VERDICT_FAIL, B);
        assert_verdict(l, true, A " and " B " cannot be assigned together: host-disk-use (" B ").");
        l = (FindingList){};
        add(&l, "iommu-enabled", CHECK_IMPOSSIBLE, VERDICT_PASS, NULL);
        assert_verdict(l, false, "There is no storage controller.");
}

/* The words and what assign does are the same. */
static void what_can_be_assigned_is_what_assign_allows(void **state) {
        (void) state;
        for (CheckKind k = 0; k < _CHECK_KIND_MAX; k++)
                for (Verdict v = 0; v < _VERDICT_MAX; v++) {
                        char accepted[] = "reset-method", *accept[] = { accepted };
                        FindingList l = healthy();
                        add(&l, "reset-method", k, v, A);
                        bool allowed = check_allows(&l, NULL, 0), acceptable = check_allows(&l, accept, 1);
                        _cleanup_free_ char *text = show(&l, (FindingsView){});
                        assert_int_equal(strstr(text, A " can be assigned.") || strstr(text, A " can be assigned, with"), allowed);
                        assert_int_equal(!!strstr(text, A " can be assigned only with"), acceptable && !allowed);
                }
}

static void alternatives(void **state) {
        FindingList l = {};
        _cleanup_free_ char *text = NULL;

        (void) state;
        add(&l, "vfio-available", CHECK_IMPOSSIBLE, VERDICT_FAIL, NULL);
        add(&l, "host-boot-path", CHECK_HARD, VERDICT_FAIL, ONBOARD);
        add(&l, "group-isolated", CHECK_IMPOSSIBLE, VERDICT_FAIL, A);
        add(&l, "host-disk-use", CHECK_HARD, VERDICT_FAIL, B);
        add(&l, "sr-iov", CHECK_IMPOSSIBLE, VERDICT_PASS, "0000:05:00.0");
        text = show(&l, (FindingsView){});
        const char *found = strstr(text, "What is possible instead:\n");
        assert_non_null(found);
        assert_non_null(strstr(found, "  - Before any controller, put right as said above: vfio-available\n"
                                      "  - Putting right what is marked with -> above: " B " (host-disk-use)\n"
                                      "  - Another slot for the card, best one of the processor's: " A " (group-isolated)\n"
                                      "  - A separate HBA, in a slot with an IOMMU group of its own, instead of " ONBOARD
                                      " (host-boot-path)\n"
                                      "  - Without passthrough, "));
        free(TAKE_PTR(text));

        /* The chipset's own controller has no slot. */
        add(&l, "group-isolated", CHECK_IMPOSSIBLE, VERDICT_FAIL, ONBOARD);
        text = show(&l, (FindingsView){});
        assert_non_null(strstr(text, "instead of " ONBOARD " (group-isolated)\n"));
        assert_null(strstr(text, "Another slot"));
}

static void no_alternatives_where_one_can_be_assigned(void **state) {
        FindingList l = healthy();
        _cleanup_free_ char *text = NULL;

        (void) state;
        add(&l, "host-disk-use", CHECK_HARD, VERDICT_FAIL, B);
        text = show(&l, (FindingsView){});
        assert_null(strstr(text, "possible instead"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(passes_are_counted),
                cmocka_unit_test(groups_and_order),
                cmocka_unit_test(lines_fit_the_terminal),
                cmocka_unit_test(colour_only_where_wanted),
                cmocka_unit_test(hostile_text),
                cmocka_unit_test(verdicts_of_one),
                cmocka_unit_test(verdicts_of_several),
                cmocka_unit_test(what_can_be_assigned_is_what_assign_allows),
                cmocka_unit_test(alternatives),
                cmocka_unit_test(no_alternatives_where_one_can_be_assigned),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
