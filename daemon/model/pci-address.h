/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "base/macros.h"

/* A PCI function's address. Domains are 32 bits wide: VMD's begin at 10000 (drivers/pci/controller/vmd.c). */
typedef struct PciAddress {
        uint32_t domain;
        uint8_t bus;
        uint8_t device;   /* 0..31 */
        uint8_t function; /* 0..7 */
} PciAddress;

/* "ffffffff:ff:1f.7" and the final NUL */
#define PCI_ADDRESS_MAX 17

/* Takes DOMAIN:BUS:DEVICE.FUNCTION with 4 to 8, 2, 2 and 1 hexadecimal digits, as sysfs writes it. 0 or -EINVAL. */
int pci_address_parse(const char *text, PciAddress *ret);
/* Writes the sysfs form into buffer (at least PCI_ADDRESS_MAX bytes) and returns it. */
const char *pci_address_format(const PciAddress *a, char *buffer);
/* As a string that lives until the end of the caller's block. */
#define PCI_ADDRESS_STR(a) pci_address_format(a, (char[PCI_ADDRESS_MAX]){ 0 })
int pci_address_compare(const PciAddress *a, const PciAddress *b);
static inline bool pci_address_equal(const PciAddress *a, const PciAddress *b) {
        return pci_address_compare(a, b) == 0;
}
