/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "check/check.h"

/* Inside check/: the checks of each family, and what they share. Each file documents its checks' rule and source;
 * docs/checks.md tells them to people. */

extern const Check check_iommu_enabled, check_vfio_available, check_no_iommu_mode, check_reserved_region; /* iommu.c */
extern const Check check_group_isolated, check_group_platform;                                           /* group.c */
extern const Check check_sr_iov;                                                                         /* device.c */
extern const Check check_host_disk_use, check_host_boot_path, check_disk_shared_path;                    /* host-use.c */
extern const Check check_guest_conflict, check_guest_disk_on_controller;                                 /* guest.c */
extern const Check check_guest_machine, check_guest_ports, check_guest_rom, check_guest_virtio;          /* guest-hardware.c */
extern const Check check_guest_memory, check_guest_balloon, check_guest_autostart;                       /* guest-memory.c */
extern const Check check_disk_data, check_smart_health;                                                  /* disk.c */

extern const Check check_cpu_virtualization, check_interrupt_remapping, check_acs_override, check_ecc_memory;  /* platform.c */
extern const Check check_competing_binder, check_driver_builtin;                                               /* binder.c */
extern const Check check_reset_method, check_interrupt_mode, check_power_state, check_vmd_or_remapped;         /* device.c */
extern const Check check_hardware_quirk;                                                                       /* quirk.c */
extern const Check check_twin_device, check_pcie_link, check_numa_local;                                       /* place.c */

/* A finding of check c about function f (NULL: about the host). */
#define check_add(c, f, l, verdict, ...) \
        finding_add(l, (c)->id, (c)->kind, verdict, (f) ? PCI_ADDRESS_STR(&(f)->address) : NULL, __VA_ARGS__)
/* A finding of check c about the request's guest. */
#define check_add_guest(c, q, l, verdict, ...) finding_add(l, (c)->id, (c)->kind, verdict, (q)->guest, __VA_ARGS__)
/* The guest that the request names; NULL without one, or when it is not known. */
const Guest *request_guest(const Host *h, const CheckRequest *q);
/* Why there is none, as a skipped finding. */
int check_skip_guest(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l);
/* What it boots from: the disk that is first in its boot order, else its first disk. NULL: no disk. */
const GuestDrive *guest_boot_drive(const Guest *g);
/* 0 or -ENOMEM from what finding_add and friends return. */
int check_result(const Finding *f);

bool host_is_x86(const Host *h);
/* A word of the kernel's command line, or of a list after '=' in it: "iommu=off", "relax_rmrr"; "pcie_acs_override" with any
 * value. */
bool command_line_has(const Host *h, const char *word);
bool request_has(const CheckRequest *q, const PciAddress *a);
/* "0000:03:00.0 Intel SATA controller (class 010601, driver ahci)"; NULL when out of memory. */
char *function_describe(const PciFunction *f);
