/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the disks behind a controller are like, in use or not. */
#include "check/family.h"

static const char *serial_of(const Disk *d) {
        return d->serial ? d->serial : "no serial number";
}

/* -- disk-data ----------------------------------------------------------------------------------------------------------- */

/* So many are named in the message; all of them are evidence. */
#define NAMED_MAX 6

static void print_signature(FILE *stream, const DiskSignature *s, size_t n) {
        if (n < NAMED_MAX)
                (void) fprintf(stream, "%s%s %s%s%s", n > 0 ? ", " : "", s->where, s->type, s->label ? " " : "", s->label ? s->label : "");
        else if (n == NAMED_MAX)
                (void) fprintf(stream, " and more");
}

/* "sda1 zfs_member tank, sdb ext4"; NULL when out of memory. */
static char *signatures_text(const Host *h, const PciFunction *f) {
        char *text = NULL;
        size_t size = 0, n = 0;
        FILE *stream = open_memstream(&text, &size);

        if (!stream)
                return NULL;
        for (size_t i = 0; i < h->n_disks; i++)
                for (size_t j = 0; pci_address_equal(&h->disks[i].controller, &f->address) && j < h->disks[i].n_signatures; j++)
                        print_signature(stream, &h->disks[i].signatures[j], n++);
        (void) fclose(stream);
        return text;
}

static int add_signatures(Finding *f, const Disk *d) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < d->n_signatures; i++) {
                const DiskSignature *s = &d->signatures[i];
                r = finding_evidence(f, "%s: %s%s%s%s%s", s->where, s->type, s->label ? ", label " : "", s->label ? s->label : "",
                                     s->uuid ? ", UUID " : "", s->uuid ? s->uuid : "");
        }
        return r;
}

static int add_data(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        _cleanup_free_ char *text = signatures_text(h, f);
        Finding *info = text ? check_add(c, f, l, VERDICT_INFO, "the guest will have what is on the disks: %s", text) : NULL;

        for (size_t i = 0; info && i < h->n_disks; i++)
                if (pci_address_equal(&h->disks[i].controller, &f->address) && add_signatures(info, &h->disks[i]) < 0)
                        return check_result(NULL);
        return check_result(info);
}

static int run_disk_data(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Disk *unread = NULL;
        size_t disks = 0, found = 0;

        (void) q;
        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                if (!pci_address_equal(&d->controller, &f->address))
                        continue;
                disks++;
                if (!d->signatures_known)
                        unread = d;
                found += d->n_signatures > 0;
        }
        if (found > 0)
                return add_data(c, h, f, l);
        if (unread)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "what is on disk %s (%s) could not be read", unread->name,
                                              serial_of(unread)));
        return check_result(check_add(c, f, l, VERDICT_PASS, "none of the %zu disks holds data that libblkid knows", disks));
}

const Check check_disk_data = {
        .id = "disk-data", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the disks hold no data", .run = run_disk_data,
};

/* -- smart-health -------------------------------------------------------------------------------------------------------- */

static int add_failing(const Check *c, const PciFunction *f, const Disk *d, FindingList *l) {
        Finding *warn = check_add(c, f, l, VERDICT_WARN, "disk %s (%s) behind %s is failing", d->name, serial_of(d),
                                  PCI_ADDRESS_STR(&f->address));

        if (!warn || finding_evidence(warn, "%s: %s", d->name, d->health ? d->health : "failing") < 0)
                return check_result(NULL);
        return finding_remedy(warn, "Look at it with `smartctl -a /dev/%s`, save its data and replace it.", d->name);
}

static int run_smart_health(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Disk *unknown = NULL;
        size_t disks = 0, before = l->n;
        int r = 0;

        (void) q;
        for (size_t i = 0; r >= 0 && i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                if (!pci_address_equal(&d->controller, &f->address))
                        continue;
                disks++;
                if (d->healthy == TRI_UNKNOWN)
                        unknown = d;
                if (d->healthy == TRI_NO)
                        r = add_failing(c, f, d, l);
        }
        if (r < 0 || l->n > before)
                return r;
        if (unknown)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "the health of disk %s (%s) is not known: %s", unknown->name,
                                              serial_of(unknown), unknown->health ? unknown->health : "preflight alone asks for it"));
        return check_result(check_add(c, f, l, VERDICT_PASS, "the SMART status of all %zu disks is good", disks));
}

const Check check_smart_health = {
        .id = "smart-health", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "no disk is failing", .run = run_smart_health,
};
