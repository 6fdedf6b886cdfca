/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/firmware.h"

#include "base/macros.h"
#include "model/host.h"

void firmware_clear(Firmware *f) {
        for (size_t i = 0; i < f->n_regions; i++)
                free(f->regions[i].scopes);
        free(f->regions);
        *f = (Firmware){};
}

static const PciFunction *child_at(const Host *h, const PciAddress *parent, uint8_t device, uint8_t function) {
        for (size_t i = 0; i < h->n_functions; i++) {
                const PciFunction *f = &h->functions[i];
                if (f->has_parent && pci_address_equal(&f->parent, parent) && f->address.device == device &&
                    f->address.function == function)
                        return f;
        }
        return NULL;
}

/* The first hop is on a bus that the table names. Those below were numbered by the kernel, so only its tree tells them. */
static const PciFunction *scope_function(const Host *h, uint16_t segment, const FirmwareScope *s) {
        const PciAddress first = { segment, s->start_bus, s->hops[0].device, s->hops[0].function };
        const PciFunction *f = host_find_function(h, &first);

        for (size_t i = 1; f && i < s->n_hops; i++)
                f = child_at(h, &f->address, s->hops[i].device, s->hops[i].function);
        return f;
}

static bool is_below(const Host *h, const PciFunction *f, const PciFunction *bridge) {
        /* A tree that does not end is a recording's fault. */
        for (size_t depth = 0; f && f->has_parent && depth < 256; depth++) {
                if (pci_address_equal(&f->parent, &bridge->address))
                        return true;
                f = host_find_function(h, &f->parent);
        }
        return false;
}

static bool scope_names(const Host *h, uint16_t segment, const FirmwareScope *s, const PciFunction *f) {
        const PciFunction *named = s->type == SCOPE_ENDPOINT || s->type == SCOPE_BRIDGE ? scope_function(h, segment, s) : NULL;

        return named && (named == f || (s->type == SCOPE_BRIDGE && is_below(h, f, named)));
}

static bool ivmd_names(const FirmwareRegion *r, const PciFunction *f) {
        uint16_t id = (uint16_t) (f->address.bus << 8 | f->address.device << 3 | f->address.function);

        return f->address.domain == r->segment && id >= r->first && id <= r->last;
}

bool host_region_names(const Host *h, const FirmwareRegion *r, const PciFunction *f) {
        if (r->type)
                return ivmd_names(r, f);
        for (size_t i = 0; i < r->n_scopes; i++)
                if (scope_names(h, r->segment, &r->scopes[i], f))
                        return true;
        return false;
}
