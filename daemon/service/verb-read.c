/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs that only look: list, show, status, preflight, plan. */
#include "service/verb.h"

#include <errno.h>
#include <fcntl.h>

#include "check/check.h"
#include "model/controller.h"
#include "plan/plan.h"
#include "probe/probe.h"
#include "service/request.h"

static int answer_result(Answer *a, json_t *result, Error **e) {
        if (!result)
                return error_oom(e);
        a->result = result;
        return 0;
}

/* Without PROBE_EXCLUSIVE no disk is opened, so that `list` wakes none.
 * {"guests_problem": why libvirt is not to be asked; absent: it is} */
static int glance(const json_t *request, Host **ret, Error **e) {
        const char *problem = json_string_value(json_object_get(request, "guests_problem"));
        _cleanup_(host_freep) Host *h = NULL;

        int r = probe_host(AT_FDCWD, PROBE_LIVE | PROBE_GLANCE | (problem ? 0 : PROBE_GUESTS), &h, e);
        if (r < 0)
                return r;
        if (problem && !(h->guests_problem = strdup(problem)))
                return error_oom(e);
        *ret = TAKE_PTR(h);
        return 0;
}

static int run_list(const json_t *request, Answer *a, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;

        int r = glance(request, &h, e);
        return r < 0 ? r : answer_result(a, host_list_to_json(h), e);
}

static int run_status(const json_t *request, Answer *a, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;

        int r = glance(request, &h, e);
        return r < 0 ? r : answer_result(a, host_status_to_json(h), e);
}

static int run_show(const json_t *request, Answer *a, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;
        const PciFunction *f = NULL;
        PciAddress address;

        int r = request_address(json_string_value(json_object_get(request, "address")), &address, e);
        if (r < 0)
                return r;
        r = glance(request, &h, e);
        if (r < 0)
                return r;
        probe_pci_locked(h, AT_FDCWD, &address);
        /* Of this one controller also the processes are told, which wakes nothing. */
        (void) probe_openers(h, AT_FDCWD, &(ProbeScope){ &address, 1 }, NULL);
        r = check_address(h, &address, &f, e);
        return r < 0 ? r : answer_result(a, controller_show_to_json(h, f), e);
}

static int run_preflight(const json_t *request, Answer *a, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;
        _cleanup_findings_ FindingList findings = {};
        _cleanup_free_ PciAddress *addresses = NULL;
        size_t n = 0;

        int r = request_addresses_from_json(json_object_get(request, "addresses"), &addresses, &n, e);
        if (r < 0)
                return r;
        const char *guest = json_string_value(json_object_get(request, "guest"));
        r = probe_host_about(AT_FDCWD, PROBE_LIVE | PROBE_GUESTS | PROBE_EXCLUSIVE | PROBE_HEALTH, addresses, n, &h, e);
        if (r < 0 || (r = probe_guest_system(h, guest, e)) < 0)
                return r;
        r = check_preflight(h, addresses, n, guest, &findings, e);
        return r < 0 ? r : answer_result(a, finding_list_to_json(&findings), e);
}

static int run_plan(const json_t *request, Answer *a, Error **e) {
        _cleanup_(plan_request_clear) PlanRequest q = {};
        _cleanup_findings_ FindingList findings = {};
        _cleanup_(plan_freep) Plan *p = NULL;
        _cleanup_(host_freep) Host *h = NULL;

        int r = plan_request_from_json(request, &q, e);
        if (r < 0)
                return r;
        r = probe_host_about(AT_FDCWD, request_probe_flags(&q), q.controllers, q.n_controllers, &h, e);
        if (r < 0 || (q.kind == PLAN_ASSIGN && (r = probe_guest_system(h, q.guest, e)) < 0))
                return r;
        r = plan_make(h, &q, &p, &findings, e);
        a->findings = finding_list_to_json(&findings);
        return r < 0 ? r : answer_result(a, plan_to_json(p), e);
}

const Verb verb_list = { .name = "list", .deadline = 60, .run = run_list };
const Verb verb_show = { .name = "show", .deadline = 60, .run = run_show };
const Verb verb_status = { .name = "status", .deadline = 60, .run = run_status };
const Verb verb_preflight = { .name = "preflight", .deadline = 60, .run = run_preflight };
const Verb verb_plan = { .name = "plan", .deadline = 60, .run = run_plan };
