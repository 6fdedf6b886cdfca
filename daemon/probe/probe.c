/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/probe.h"

#include "probe/block-map.h"
#include "probe/recording.h"

/* The addresses and whatever else is in their IOMMU groups. */
static PciAddress *scope_addresses(const Host *h, const PciAddress *addresses, size_t n, size_t *ret_n) {
        PciAddress *all = calloc(n + h->n_functions + 1, sizeof *all);
        size_t n_all = n;

        if (all && n > 0)
                memcpy(all, addresses, n * sizeof *all);
        for (size_t i = 0; all && i < h->n_functions; i++) {
                const PciFunction *f = &h->functions[i];
                bool mate = false;
                for (size_t j = 0; j < n; j++) {
                        const PciFunction *named = host_find_function(h, &addresses[j]);
                        mate |= named && named->group >= 0 && named->group == f->group;
                }
                if (mate)
                        all[n_all++] = f->address;
        }
        *ret_n = n_all;
        return all;
}

static int read_all(Host *h, int root, ProbeFlags flags, const ProbeScope *s, Error **e) {
        bool live = flags & PROBE_LIVE, ask = live && flags & PROBE_EXCLUSIVE;
        int r;

        if ((r = probe_block(h, root, e)) < 0 || (ask && (r = probe_disks(h, root, s, e)) < 0) ||
            (r = probe_mounts(h, root, live, e)) < 0 || (r = probe_exports(h, root, e)) < 0 ||
            (r = probe_guests(h, root, flags, e)) < 0 || (!live && (r = probe_recording(h, root, e)) < 0) ||
            (r = probe_guest_drives(h, root, e)) < 0 || (r = probe_assigned(h, root, e)) < 0 ||
            (ask && (r = probe_openers(h, root, s, e)) < 0))
                return r;
        if (ask && (r = probe_disks_explain(h, root)) < 0)
                return error_oom(e);
        return ask && flags & PROBE_HEALTH ? probe_health(h, s, e) : 0;
}

int probe_host_about(int root, ProbeFlags flags, const PciAddress *addresses, size_t n, Host **ret, Error **e) {
        _cleanup_(host_freep) Host *h = host_new();
        _cleanup_free_ PciAddress *about = NULL;
        ProbeScope s = {};
        int r;

        if (!h)
                return error_oom(e);
        if ((r = probe_pci(h, root, flags, e)) < 0 || (r = probe_iommu(h, root, e)) < 0 ||
            (r = probe_acpi(h, root, e)) < 0 || (r = probe_system(h, root, flags & PROBE_LIVE, e)) < 0)
                return r;
        if (!(flags & PROBE_GLANCE) && ((r = probe_platform(h, root, e)) < 0 || (r = probe_claims(h, root, e)) < 0 ||
                                        (r = probe_quirks(h, NULL, e)) < 0))
                return r;
        host_sort(h);
        s.addresses = about = scope_addresses(h, addresses, n, &s.n);
        if (!about)
                return error_oom(e);
        if ((r = read_all(h, root, flags, &s, e)) < 0)
                return r;
        host_sort(h);
        if (flags & PROBE_GLANCE && !h->guests_known && (r = probe_groups_open(h, root, e)) < 0)
                return r;
        if (flags & PROBE_LIVE && flags & PROBE_GUESTS && flags & PROBE_AGENTS)
                probe_agents(h, &s);
        *ret = TAKE_PTR(h);
        return 0;
}

int probe_host(int root, ProbeFlags flags, Host **ret, Error **e) {
        return probe_host_about(root, flags, NULL, 0, ret, e);
}
