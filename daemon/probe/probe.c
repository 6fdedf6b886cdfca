/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/probe.h"

#include "probe/block-map.h"

/* An exclusive opener that nothing else explains: a process, or a kernel user that leaves no trace in sysfs. */
static int explain_exclusive(Host *h) {
        for (size_t i = 0; i < h->n_disks; i++) {
                Disk *d = &h->disks[i];
                bool explained = false;
                for (size_t j = 0; j < d->n_uses; j++)
                        explained |= d->uses[j].kind == DISK_USE_MOUNT || d->uses[j].kind == DISK_USE_SWAP ||
                                     d->uses[j].kind == DISK_USE_HOLDER;
                if (d->exclusive != TRI_NO || explained)
                        continue;
                int r = disk_add_use(d, DISK_USE_EXCLUSIVE, false, "%s → opened exclusively", d->name);
                if (r < 0)
                        return r;
        }
        return 0;
}

int probe_host(int root, ProbeFlags flags, Host **ret, Error **e) {
        _cleanup_(host_freep) Host *h = host_new();
        bool live = flags & PROBE_LIVE;
        int r;

        if (!h)
                return error_oom(e);
        if ((r = probe_pci(h, root, flags, e)) < 0 || (r = probe_iommu(h, root, e)) < 0 ||
            (r = probe_system(h, root, live, e)) < 0 ||
            (r = probe_block(h, root, live, live && flags & PROBE_EXCLUSIVE, e)) < 0 ||
            (r = probe_mounts(h, root, live, e)) < 0 || (r = probe_exports(h, root, e)) < 0 ||
             (r = probe_guests(h, root, flags, e)) < 0 ||
            (r = probe_assigned(h, root, e)) < 0)
                return r;
        if (!(flags & PROBE_GLANCE) && ((r = probe_platform(h, root, e)) < 0 || (r = probe_claims(h, root, e)) < 0 ||
                                        (r = probe_quirks(h, NULL, e)) < 0))
                return r;
        if ((r = explain_exclusive(h)) < 0)
                return error_oom(e);
        host_sort(h);
        if (flags & PROBE_GLANCE && !h->guests_known && (r = probe_groups_open(h, root, e)) < 0)
                return r;
        if (live && flags & PROBE_GUESTS && flags & PROBE_AGENTS)
                probe_agents(h);
        *ret = TAKE_PTR(h);
        return 0;
}
