/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory, all of which VFIO pins, and what cannot be done with it any more. */
#include "check/family.h"

#include <errno.h>

#define GIB (UINT64_C(1) << 30)

static double gib(uint64_t bytes) {
        return (double) bytes / (double) GIB;
}

/* -- guest-memory -------------------------------------------------------------------------------------------------------- */

/* Pins its memory now or will without being asked: it has a device of the host and runs, or starts with it. */
static bool is_pinning(const Guest *g) {
        return !g->session && g->n_devices > 0 && (g->state != GUEST_SHUT_OFF || g->autostart == TRI_YES);
}

static bool counts(const Guest *of, const Guest *g) {
        return g == of || (is_pinning(g) && g->huge_pages == of->huge_pages);
}

static uint64_t pinned_memory(const Host *h, const Guest *of) {
        uint64_t sum = 0;

        for (size_t i = 0; i < h->n_guests; i++)
                if (counts(of, &h->guests[i]) && __builtin_add_overflow(sum, h->guests[i].memory, &sum))
                        return UINT64_MAX;
        return sum;
}

static int explain_memory(const Host *h, const Guest *g, Finding *f) {
        for (size_t i = 0; i < h->n_guests; i++)
                if (counts(g, &h->guests[i]) &&
                    finding_evidence(f, "guest %s: %.1f GiB", h->guests[i].name, gib(h->guests[i].memory)) < 0)
                        return -ENOMEM;
        (void) finding_evidence(f, "/proc/meminfo: MemTotal %.1f GiB, of it %.1f GiB in huge pages (Hugetlb)", gib(h->memory),
                                gib(h->huge_memory));
        return g->huge_pages ? finding_remedy(f, "Give guest %s less memory (virsh setmaxmem %s SIZE --config), or set more huge pages "
                                                 "aside.", g->name, g->name)
                             : finding_remedy(f, "Give guest %s less memory (virsh setmaxmem %s SIZE --config), or run fewer guests with "
                                                 "devices of the host: what VFIO pins can be neither swapped out nor shared.",
                                              g->name, g->name);
}

static int run_guest_memory(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);

        if (!g)
                return check_skip_guest(c, h, q, f, l);
        if (!g->memory || !h->memory)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "%s is not known",
                                                    g->memory ? "the host's memory" : "its memory"));
        uint64_t pinned = pinned_memory(h, g), there = g->huge_pages ? h->huge_memory : h->memory - h->huge_memory;
        const char *what = g->huge_pages ? " in huge pages" : "";
        if (pinned > there) {
                Finding *fail = check_add_guest(c, q, l, VERDICT_FAIL, "guest %s, with the others that have devices of the host, needs "
                                                                       "%.1f GiB of memory%s, and the host has %.1f GiB", g->name, gib(pinned), what,
                                                gib(there));
                return fail ? explain_memory(h, g, fail) : check_result(fail);
        }
        /* Less than a host needs for itself and for QEMU's own memory. */
        if (!g->huge_pages && there - pinned < GIB) {
                Finding *warn = check_add_guest(c, q, l, VERDICT_WARN, "guest %s, with the others that have devices of the host, leaves "
                                                                       "the host %.1f GiB of memory", g->name, gib(there - pinned));
                return warn ? explain_memory(h, g, warn) : check_result(warn);
        }
        return check_result(check_add_guest(c, q, l, VERDICT_PASS, "%.1f GiB of the host's %.1f GiB%s will be pinned", gib(pinned),
                                            gib(there), what));
}

const Check check_guest_memory = {
        .id = "guest-memory", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_GUEST,
        .summary = "the host has the memory that its guests with host devices pin", .run = run_guest_memory,
};

/* -- guest-balloon ------------------------------------------------------------------------------------------------------- */

/* QEMU inhibits the balloon while a VFIO device is there (hw/vfio/common.c, ram_block_discard_disable). libvirt gives every
 * guest one; as long as it is to take nothing it does no harm. */
static int run_guest_balloon(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);

        if (!g)
                return check_skip_guest(c, h, q, f, l);
        if (g->balloon == TRI_UNKNOWN || !g->memory)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "its balloon is not known"));
        if (g->balloon == TRI_NO)
                return check_result(check_add_guest(c, q, l, VERDICT_PASS, "it has no memory balloon"));
        if (g->current_memory >= g->memory)
                return check_result(check_add_guest(c, q, l, VERDICT_INFO, "its memory balloon has no effect with the controller, and "
                                                                           "is not in use"));
        Finding *warn = check_add_guest(c, q, l, VERDICT_WARN, "guest %s is to have %.1f GiB of its %.1f GiB of memory, but takes all "
                                                               "of it with the controller: its balloon has no effect then", g->name,
                                        gib(g->current_memory), gib(g->memory));
        (void) finding_evidence(warn, "virsh dumpxml %s: <currentMemory> is less than <memory>, and <memballoon> is there", g->name);
        return finding_remedy(warn, "Make both the same, and use <memballoon model='none'/>: virsh edit %s.", g->name);
}

const Check check_guest_balloon = {
        .id = "guest-balloon", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_GUEST,
        .summary = "the guest's memory does not depend on a balloon", .run = run_guest_balloon,
};

/* -- guest-autostart ----------------------------------------------------------------------------------------------------- */

static int warn_saved(const Check *c, const CheckRequest *q, const Guest *g, FindingList *l) {
        Finding *warn = check_add_guest(c, q, l, VERDICT_WARN, "guest %s has a saved state of its memory, which the controller is not in",
                                        g->name);

        if (g->managed_save == TRI_YES)
                (void) finding_evidence(warn, "a managed-save image: virsh list --all --managed-save");
        if (g->memory_snapshots > 0)
                (void) finding_evidence(warn, "%d snapshots with memory: virsh snapshot-list %s --active", g->memory_snapshots, g->name);
        if (g->managed_save == TRI_YES)
                return finding_remedy(warn, "Start it and shut it down, or drop the image: virsh managedsave-remove %s. With the "
                                            "controller it can be saved no more.", g->name);
        return finding_remedy(warn, "Do not revert to these snapshots while it has the controller, or delete them: virsh snapshot-delete "
                                    "%s NAME.", g->name);
}

static int run_guest_autostart(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);

        if (!g)
                return check_skip_guest(c, h, q, f, l);
        if (g->managed_save == TRI_YES || g->memory_snapshots > 0)
                return warn_saved(c, q, g, l);
        if (g->managed_save == TRI_UNKNOWN || g->memory_snapshots < 0)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "whether it has a saved state of its memory is not known"));
        if (g->autostart == TRI_YES)
                return check_result(check_add_guest(c, q, l, VERDICT_INFO, "it starts with the host (virsh autostart)"));
        return check_result(check_add_guest(c, q, l, VERDICT_PASS, "it has no saved state of its memory"));
}

const Check check_guest_autostart = {
        .id = "guest-autostart", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_GUEST,
        .summary = "the guest has no saved state that lacks the controller", .run = run_guest_autostart,
};
