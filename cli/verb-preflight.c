/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus.h"
#include "check/check.h"
#include "local.h"
#include "output.h"
#include "probe/probe.h"

static int check_locally(const Arguments *a, json_t **ret, Error **e) {
        _cleanup_free_ PciAddress *addresses = calloc(a->n_words + 1, sizeof *addresses);
        _cleanup_findings_ FindingList findings = {};
        _cleanup_(host_freep) Host *h = NULL;

        if (!addresses)
                return error_oom(e);
        for (size_t i = 0; i < a->n_words; i++)
                (void) pci_address_parse(a->words[i], &addresses[i]);
        int r = local_host(a->sysroot, &h, e);
        if (r < 0 || (r = probe_guest_system(h, a->guest, e)) < 0 ||
            (r = check_preflight(h, addresses, a->n_words, a->guest, &findings, e)) < 0)
                return r;
        *ret = finding_list_to_json(&findings);
        return *ret ? 0 : error_oom(e);
}

static int ask_daemon(const Arguments *a, json_t **ret, Error **e) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        sd_bus_message *m = NULL;

        int r = bus_open(a, &bus, e);
        if (r < 0 || (r = bus_message(bus, "Preflight", &m, e)) < 0 || (r = bus_append_strings(m, a->words, a->n_words, e)) < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', a->guest ? a->guest : "");
        return r < 0 ? error_set(e, -r, "the request cannot be built") : bus_call_job(bus, m, ret, e);
}

int verb_preflight(const Arguments *a, Error **e) {
        _cleanup_json_ json_t *result = NULL;

        int r = check_addresses(a->words, a->n_words, e);
        if (r < 0 || (r = a->sysroot ? check_locally(a, &result, e) : ask_daemon(a, &result, e)) < 0)
                return r;
        if (a->json)
                output_json(result);
        else if (output_findings(result, a->verbose, a->n_words > 1) < 0)
                return error_oom(e);
        return str_equal(output_text(result, "verdict"), "fail") ? EXIT_REFUSED : EXIT_DONE;
}
