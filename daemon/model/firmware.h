/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * What the firmware's IOMMU table says: DMAR (Intel Virtualization Technology for Directed I/O, specification 4.1, chapter 8)
 * or IVRS (AMD I/O Virtualization Technology Specification 3.08, section 5.2). It explains; which regions bar a group is told by
 * the kernel's reserved_regions alone.
 */

typedef enum FirmwareTable {
        FIRMWARE_NONE,          /* no table, or it could not be read */
        FIRMWARE_DMAR,
        FIRMWARE_IVRS,
} FirmwareTable;

/* DMAR's flags, section 8.1 */
#define DMAR_INTR_REMAP 0x01u
#define DMAR_DMA_CTRL_PLATFORM_OPT_IN 0x04u

/* Device scopes, section 8.3.1: a function, or a bridge with all that is below it. Other types name no PCI function. */
#define SCOPE_ENDPOINT 1
#define SCOPE_BRIDGE 2
#define SCOPE_HOPS_MAX 124      /* the structure's length is one byte: 6 of header, two for each hop */

typedef struct FirmwareScope {
        uint8_t type, start_bus;
        uint8_t n_hops;         /* at least one */
        struct {
                uint8_t device, function;
        } hops[SCOPE_HOPS_MAX]; /* from start_bus down through the bridges */
} FirmwareScope;

/* IVMD blocks, section 5.2 */
#define IVMD_ALL 0x20
#define IVMD_ONE 0x21
#define IVMD_RANGE 0x22
#define IVMD_EXCLUSION 0x08u    /* flag */

typedef struct FirmwareRegion {
        uint16_t segment;
        uint64_t start, end;    /* inclusive */
        FirmwareScope *scopes;  /* RMRR: whom it is for */
        size_t n_scopes;
        uint8_t type, flags;    /* IVMD; 0 for an RMRR */
        uint16_t first, last;   /* IVMD: device ids (bus, device, function) */
        uint64_t length;        /* IVMD: as the table has it; start and end are whole pages, as the kernel maps them */
} FirmwareRegion;

typedef struct Firmware {
        FirmwareTable table;
        uint8_t flags;          /* DMAR_* */
        size_t units;           /* DRHD structures, IVHD blocks */
        FirmwareRegion *regions;
        size_t n_regions;
} Firmware;

void firmware_clear(Firmware *f);
