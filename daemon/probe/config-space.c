/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A function's config space, as bytes. Without privilege only the first 64 can be read (pci_read_config,
 * drivers/pci/pci-sysfs.c): capabilities are unknown then, not absent.
 */
#include "probe/config-space.h"

#include <linux/pci_regs.h>
#include <unistd.h>

#define HEADER_SIZE 64
#define CONVENTIONAL_SIZE 256 /* where PCI Express's extended capabilities begin */

static uint16_t word16(const uint8_t *config, size_t offset) {
        return (uint16_t) (config[offset] | config[offset + 1] << 8);
}

static uint32_t word32(const uint8_t *config, size_t offset) {
        return word16(config, offset) | (uint32_t) word16(config, offset + 2) << 16;
}

/* -- capabilities: PCI Local Bus Specification 3.0, section 6.7 ---------------------------------------------------------- */

static void decode_capability(PciFunction *f, const uint8_t *config, size_t offset) {
        switch (config[offset]) {
        case PCI_CAP_ID_MSI:
        case PCI_CAP_ID_MSIX:
                f->msi = TRI_YES;
                break;
        case PCI_CAP_ID_EXP:
                f->pcie_type = (word16(config, offset + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) >> 4;
                f->slot = word16(config, offset + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_SLOT;
                break;
        default:
                break;
        }
}

static void decode_capabilities(PciFunction *f, const uint8_t *config, size_t size) {
        bool listed = word16(config, PCI_STATUS) & PCI_STATUS_CAP_LIST;

        if (size < CONVENTIONAL_SIZE)
                return;
        f->msi = TRI_NO;
        f->pcie_type = PCIE_CONVENTIONAL;
        size_t offset = listed ? config[f->header_type == PCI_HEADER_TYPE_CARDBUS ? PCI_CB_CAPABILITY_LIST : PCI_CAPABILITY_LIST] : 0;
        /* Each takes at least four bytes, so a list that is longer than that bites its own tail. */
        for (size_t hops = 0; hops < CONVENTIONAL_SIZE / 4; hops++) {
                offset &= ~(size_t) 3;
                if (offset < HEADER_SIZE)
                        return;
                decode_capability(f, config, offset);
                offset = config[offset + PCI_CAP_LIST_NEXT];
        }
}

/* -- extended capabilities: PCI Express Base Specification 5.0, section 7.6 ---------------------------------------------- */

/* Root ports of Intel's 100 and 200 series have ACS registers of 32 bits each, an erratum: the control register is not where
 * the specification has it (pci_quirk_intel_spt_pch_acs, drivers/pci/quirks.c). */
static bool has_wide_acs(const uint8_t *config) {
        static const uint16_t ranges[][2] = {
                { 0xa110, 0xa11f }, { 0xa167, 0xa16a }, { 0xa290, 0xa29f }, { 0xa2e7, 0xa2ee }, { 0x9d10, 0x9d1b },
        };
        uint16_t device = word16(config, PCI_DEVICE_ID);

        for (size_t i = 0; i < ELEMENTSOF(ranges) && word16(config, PCI_VENDOR_ID) == 0x8086; i++)
                if (device >= ranges[i][0] && device <= ranges[i][1])
                        return true;
        return false;
}

static void decode_extended(PciFunction *f, const uint8_t *config, size_t offset) {
        switch (PCI_EXT_CAP_ID(word32(config, offset))) {
        case PCI_EXT_CAP_ID_DSN: /* section 7.9.3 */
                f->serial = (uint64_t) word32(config, offset + 8) << 32 | word32(config, offset + 4);
                f->has_serial = f->serial != 0 && f->serial != UINT64_MAX;
                break;
        case PCI_EXT_CAP_ID_ACS: /* section 7.7.8 */
                f->acs = TRI_YES;
                f->acs_able = word16(config, offset + PCI_ACS_CAP);
                f->acs_on = word16(config, offset + (has_wide_acs(config) ? 8 : PCI_ACS_CTRL));
                break;
        default:
                break;
        }
}

static void decode_extended_list(PciFunction *f, const uint8_t *config, size_t size) {
        size_t offset = CONVENTIONAL_SIZE;

        if (f->pcie_type == PCIE_CONVENTIONAL)
                f->acs = TRI_NO;
        if (size <= CONVENTIONAL_SIZE)
                return;
        f->acs = TRI_NO;
        for (int hops = 0; hops < 480 && offset >= CONVENTIONAL_SIZE && offset + 12 <= size; hops++) {
                uint32_t header = word32(config, offset);
                if (header == 0 || header == UINT32_MAX)
                        return;
                decode_extended(f, config, offset);
                offset = PCI_EXT_CAP_NEXT(header);
        }
}

/* -- reading ------------------------------------------------------------------------------------------------------------- */

/* The longest extended capability that is decoded. */
#define EXTENDED_SIZE 12

size_t config_space_read(int fd, bool header_only, uint8_t *config) {
        size_t offset = CONVENTIONAL_SIZE, size = CONVENTIONAL_SIZE;

        memset(config, 0, CONFIG_SPACE_SIZE);
        if (pread(fd, config, HEADER_SIZE, 0) < HEADER_SIZE)
                return 0;
        if (header_only ||
            pread(fd, config + HEADER_SIZE, CONVENTIONAL_SIZE - HEADER_SIZE, HEADER_SIZE) < CONVENTIONAL_SIZE - HEADER_SIZE)
                return HEADER_SIZE;
        for (int hops = 0; hops < 480 && offset >= CONVENTIONAL_SIZE && offset + EXTENDED_SIZE <= CONFIG_SPACE_SIZE; hops++) {
                if (pread(fd, config + offset, EXTENDED_SIZE, (off_t) offset) < EXTENDED_SIZE)
                        break;
                size = CONFIG_SPACE_SIZE;
                uint32_t header = word32(config, offset);
                if (header == 0 || header == UINT32_MAX)
                        break;
                offset = PCI_EXT_CAP_NEXT(header);
        }
        return size;
}

void config_space_decode(PciFunction *f, const uint8_t *config, size_t size) {
        f->config_dead = f->msi = f->acs = TRI_UNKNOWN;
        f->pcie_type = PCIE_UNKNOWN;
        f->header_type = -1;
        if (size < HEADER_SIZE)
                return;
        f->config_size = (unsigned) size;
        /* The ids of a virtual function read as ones, too (Single Root I/O Virtualization 1.1, section 3.4.1); its class does not. */
        f->config_dead = word32(config, 0) == UINT32_MAX && word32(config, PCI_CLASS_REVISION) == UINT32_MAX ? TRI_YES : TRI_NO;
        if (f->config_dead == TRI_YES)
                return;
        f->header_type = config[PCI_HEADER_TYPE] & 0x7f;
        /* The bit is there to be read in function 0; many a chipset leaves it clear in the others, which the kernel takes for one of
         * several all the same (pci_scan_slot, drivers/pci/probe.c), but never a virtual function (pci_iov_add_virtfn,
         * drivers/pci/iov.c). */
        f->multifunction = !f->is_vf && (config[PCI_HEADER_TYPE] & 0x80 || f->address.function > 0);
        decode_capabilities(f, config, size);
        decode_extended_list(f, config, size);
}
