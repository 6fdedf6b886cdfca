/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the hardware database (hwdb(7)) knows of the functions: the records of rules/70-passthru.hwdb and the user's own in
 * /etc/udev/hwdb.d. It is this machine's database that is asked, also about a recorded machine: knowledge belongs to who
 * judges. sd-hwdb is what libudev's udev_hwdb is made of, and takes a path.
 */
#include <errno.h>
#include <systemd/sd-hwdb.h>

#include "base/text.h"
#include "probe/probe.h"

#define PREFIX "PASSTHRU_QUIRK_"
#define VALUE_MAX 1000
/* of one function */
#define QUIRKS_MAX 32

/* The form of the kernel's modalias (pci_uevent, drivers/pci/pci-driver.c), which is what records match. */
static int modalias(const PciFunction *f, char **ret) {
        return asprintf(ret, "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", f->vendor, f->device, f->subsystem_vendor,
                        f->subsystem_device, f->class >> 16 & 0xff, f->class >> 8 & 0xff, f->class & 0xff) < 0 ? -ENOMEM : 0;
}

static int add_quirk(PciFunction *f, const char *name, const char *severity) {
        Quirk *more = reallocarray(f->quirks, f->n_quirks + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        f->quirks = more;
        more[f->n_quirks++] = (Quirk){ .name = strdup(name), .severity = strndup(severity, VALUE_MAX) };
        return more[f->n_quirks - 1].name && more[f->n_quirks - 1].severity ? 0 : -ENOMEM;
}

static char *property(sd_hwdb *db, const char *alias, const char *kind, const char *name) {
        _cleanup_free_ char *key = NULL;
        const char *value;

        if (asprintf(&key, "PASSTHRU_%s_%s", kind, name) < 0 || sd_hwdb_get(db, alias, key, &value) < 0)
                return NULL;
        char *copy = strndup(value, VALUE_MAX);
        text_clean(copy);
        return copy;
}

static int read_quirks(PciFunction *f, sd_hwdb *db) {
        _cleanup_free_ char *alias = NULL;
        const char *key, *value;
        int r = modalias(f, &alias);

        if (r < 0)
                return r;
        SD_HWDB_FOREACH_PROPERTY(db, alias, key, value)
                if (strncmp(key, PREFIX, strlen(PREFIX)) == 0 && f->n_quirks < QUIRKS_MAX &&
                    (r = add_quirk(f, key + strlen(PREFIX), value)) < 0)
                        return r;
        for (size_t i = 0; i < f->n_quirks; i++) {
                Quirk *q = &f->quirks[i];
                q->reason = property(db, alias, "REASON", q->name);
                q->remedy = property(db, alias, "REMEDY", q->name);
                q->source = property(db, alias, "SOURCE", q->name);
                text_clean(q->name);
                text_clean(q->severity);
        }
        return 0;
}

int probe_quirks(Host *h, const char *database, Error **e) {
        _cleanup_(sd_hwdb_unrefp) sd_hwdb *db = NULL;
        const char *value;

        h->quirks_known = TRI_NO;
        if ((database ? sd_hwdb_new_from_path(database, &db) : sd_hwdb_new(&db)) < 0)
                return 0;
        /* A database that was compiled before the records were installed knows nothing of them. */
        if (sd_hwdb_get(db, "passthru:records", "PASSTHRU_RECORDS", &value) < 0)
                return 0;
        for (size_t i = 0; i < h->n_functions; i++)
                if (read_quirks(&h->functions[i], db) < 0)
                        return error_oom(e);
        h->quirks_known = TRI_YES;
        return 0;
}
