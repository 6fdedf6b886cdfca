/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a running guest still uses the disks behind a controller, by its agent's word. */
#include "plan/make.h"

static int refuse_unknown(const Guest *g, const PciAddress *a, const char *why, Error **e) {
        return error_set_full(e, EBUSY, "unplug-unknown", "Unmount its file systems and export its pools in the guest, then release it "
                              "with --force-unplug; or have qemu-guest-agent installed in the guest, which tells; or shut the guest "
                              "down first.", "whether guest %s still uses the disks behind %s is not known: %s", g->name,
                              PCI_ADDRESS_STR(a), why);
}

/* The agent tells udev's ID_SERIAL, which for most disks is the model, "_" and the serial number. */
static bool same_serial(const char *told, const char *ours) {
        size_t n = strlen(told), m = strlen(ours);

        return str_equal(told, ours) || (n > m + 1 && told[n - m - 1] == '_' && str_equal(told + n - m, ours));
}

static bool has_serial(const Assigned *record, const char *serial) {
        for (size_t i = 0; serial && i < record->n_disk_serials; i++)
                if (same_serial(serial, record->disk_serials[i]))
                        return true;
        return false;
}

/* Where the controller is in the guest, by the first recorded disk that its agent lists with its controller; other disks may
 * have been added since. NULL: not told. */
static const char *controller_in_guest(const Guest *g, const Assigned *record) {
        for (size_t i = 0; i < g->n_disks; i++)
                if (g->disks[i].controller && has_serial(record, g->disks[i].serial))
                        return g->disks[i].controller;
        return NULL;
}

/* The first disk of the record that the agent does not list, or NULL. One that is not recognised among the guest's disks would
 * not be recognised among those in use either. */
static const char *unlisted_disk(const Guest *g, const Assigned *record) {
        for (size_t i = 0; i < record->n_disk_serials; i++) {
                bool listed = false;
                for (size_t j = 0; j < g->n_disks; j++)
                        listed |= g->disks[j].serial && same_serial(g->disks[j].serial, record->disk_serials[i]);
                if (!listed)
                        return record->disk_serials[i];
        }
        return NULL;
}

/* Why the agent's word is not enough; newly allocated. 0 when it is. */
static int why_unknown(const Guest *g, const Assigned *record, char **ret) {
        const char *unlisted = unlisted_disk(g, record);

        if (g->agent != TRI_YES)
                *ret = strdup(g->agent_problem ? g->agent_problem : "its agent was not asked");
        else if (record->n_disk_serials == 0)
                *ret = strdup("its disks have no serial numbers");
        else if (unlisted && asprintf(ret, "its agent does not list disk %s", unlisted) < 0)
                *ret = NULL;
        else if (!unlisted && !controller_in_guest(g, record))
                *ret = strdup("its agent does not tell behind which controller its disks are");
        else if (!unlisted)
                return 0;
        return *ret ? 1 : -ENOMEM;
}

int plan_check_unused(const Guest *g, const Assigned *record, Error **e) {
        _cleanup_free_ char *why = NULL;
        const PciAddress *a = &record->address;

        int r = why_unknown(g, record, &why);
        if (r != 0)
                return r < 0 ? r : refuse_unknown(g, a, why, e);
        const char *controller = controller_in_guest(g, record);
        for (size_t i = 0; i < g->n_uses; i++) {
                const GuestUse *u = &g->uses[i];
                if (has_serial(record, u->serial) || str_equal(u->controller, controller))
                        return error_set_full(e, EBUSY, "used-by-guest", "Unmount it or export the pool in the guest first. "
                                              "--force-unplug takes it all the same; what is not written yet is lost then.",
                                              "guest %s uses disk %s behind %s: %s", g->name, u->serial ? u->serial : "",
                                              PCI_ADDRESS_STR(a), u->what);
        }
        for (size_t i = 0; i < g->n_uses; i++)
                if (!g->uses[i].controller)
                        return refuse_unknown(g, a, g->uses[i].what, e);
        return 0;
}
