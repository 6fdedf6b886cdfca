/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/pci-address.h"

#include <errno.h>

/* Reads between least and most hexadecimal digits; returns the first character after them or NULL. */
static const char *read_hex(const char *s, unsigned least, unsigned most, uint32_t *ret) {
        unsigned n = 0;

        *ret = 0;
        for (; n < most; n++, s++) {
                char c = *s;
                uint32_t digit;
                if (c >= '0' && c <= '9')
                        digit = (uint32_t) (c - '0');
                else if (c >= 'a' && c <= 'f')
                        digit = (uint32_t) (c - 'a') + 10;
                else if (c >= 'A' && c <= 'F')
                        digit = (uint32_t) (c - 'A') + 10;
                else
                        break;
                *ret = *ret << 4 | digit;
        }
        return n < least ? NULL : s;
}

int pci_address_parse(const char *text, PciAddress *ret) {
        uint32_t domain, bus, device, function;
        const char *s = text;

        if (!s || !(s = read_hex(s, 4, 8, &domain)) || *s++ != ':' || !(s = read_hex(s, 2, 2, &bus)) || *s++ != ':' ||
            !(s = read_hex(s, 2, 2, &device)) || *s++ != '.' || !(s = read_hex(s, 1, 1, &function)) || *s || device > 31 ||
            function > 7)
                return -EINVAL;
        *ret = (PciAddress) { domain, (uint8_t) bus, (uint8_t) device, (uint8_t) function };
        return 0;
}

const char *pci_address_format(const PciAddress *a, char *buffer) {
        (void) snprintf(buffer, PCI_ADDRESS_MAX, "%04x:%02x:%02x.%x", a->domain, a->bus, a->device & 31u, a->function & 7u);
        return buffer;
}

int pci_address_compare(const PciAddress *a, const PciAddress *b) {
        if (a->domain != b->domain)
                return a->domain < b->domain ? -1 : 1;
        if (a->bus != b->bus)
                return a->bus < b->bus ? -1 : 1;
        if (a->device != b->device)
                return a->device < b->device ? -1 : 1;
        return a->function < b->function ? -1 : a->function > b->function;
}
