/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libosinfo's database tells of the system in a guest: which paravirtual devices it has drivers of its own for. */
#include <errno.h>
#include <osinfo/osinfo.h>

#include "probe/probe.h"

DEFINE_CLEANUP(OsinfoLoader *, g_object_unref)

/* Ids of the database; a device of the era before virtio 1.0 and one since serve the same. */
static const struct {
        const char *id;
        size_t offset;
} devices[] = {
        { "http://pcisig.com/pci/1af4/1001", offsetof(GuestSystem, virtio_block) },
        { "http://pcisig.com/pci/1af4/1042", offsetof(GuestSystem, virtio_block) },
        { "http://pcisig.com/pci/1af4/1004", offsetof(GuestSystem, virtio_scsi) },
        { "http://pcisig.com/pci/1af4/1048", offsetof(GuestSystem, virtio_scsi) },
        { "http://pcisig.com/pci/1af4/1000", offsetof(GuestSystem, virtio_net) },
        { "http://pcisig.com/pci/1af4/1041", offsetof(GuestSystem, virtio_net) },
        { "http://qemu.org/chipset/x86/q35", offsetof(GuestSystem, q35) },
};

static void read_devices(GuestSystem *s, OsinfoOs *os) {
        OsinfoList *list = OSINFO_LIST(osinfo_os_get_all_devices(os, NULL));

        /* The database says what a system has, not what it lacks; for the chipset nobody can tell the one from the other. */
        s->virtio_block = s->virtio_scsi = s->virtio_net = TRI_NO;
        for (size_t i = 0; i < ELEMENTSOF(devices); i++)
                if (osinfo_list_find_by_id(list, devices[i].id))
                        *(Tri *) ((char *) s + devices[i].offset) = TRI_YES;
        g_object_unref(list);
}

static int look_up(GuestSystem *s) {
        _cleanup_(g_object_unrefp) OsinfoLoader *loader = osinfo_loader_new();
        GError *error = NULL;

        osinfo_loader_process_default_path(loader, &error);
        if (error) {
                int r = asprintf(&s->problem, "libosinfo's database cannot be read: %s", error->message);
                g_error_free(error);
                return r < 0 ? -ENOMEM : 0;
        }
        OsinfoOs *os = osinfo_db_get_os(osinfo_loader_get_db(loader), s->id);
        if (!os)
                return asprintf(&s->problem, "libosinfo's database does not know %s", s->id) < 0 ? -ENOMEM : 0;
        const char *name = osinfo_product_get_name(OSINFO_PRODUCT(os));
        s->name = strdup(name ? name : s->id);
        read_devices(s, os);
        return s->name ? 0 : -ENOMEM;
}

int probe_guest_system(Host *h, const char *guest, Error **e) {
        Guest *g = guest ? (Guest *) host_find_guest(h, guest) : NULL;

        return g && g->system.id && look_up(&g->system) < 0 ? error_oom(e) : 0;
}
