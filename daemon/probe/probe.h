/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"

/*
 * Fills a Host, read-only, from the live machine or from any directory laid out like /. One file per source.
 * Nothing is woken: no disk is opened but with PROBE_EXCLUSIVE.
 */

typedef enum ProbeFlags {
        PROBE_LIVE = 1 << 0,      /* the root is this machine: libvirt may be asked, disks opened, /proc/PID read */
        PROBE_EXCLUSIVE = 1 << 1, /* ask the disks (needs PROBE_LIVE): open(O_RDONLY|O_EXCL|O_NONBLOCK) on each whole disk behind
                                   * a controller, its signatures, and the processes that have it open */
        PROBE_GUESTS = 1 << 2,    /* ask libvirt (PROBE_LIVE), or read etc/libvirt/qemu/ *.xml below the root */
        PROBE_AGENTS = 1 << 3,    /* ask the agents of guests that run with an assigned controller in question (needs both) */
        PROBE_GLANCE = 1 << 4,    /* to show, not to decide (needs PROBE_LIVE): libvirt has two seconds to answer. Where it does
                                   * not, or is not asked, its files and the open VFIO groups tell; guests_known stays false. What
                                   * is read under a device's lock (driver overrides, virtual functions) stays unknown. */
        PROBE_HEALTH = 1 << 8,    /* and how healthy they are (needs both): seconds where there are many */
} ProbeFlags;

/* root: AT_FDCWD for the live machine, else a directory fd. 0 or -errno. Missing parts are no error: they stay unknown in the
 * Host. */
int probe_host(int root, ProbeFlags flags, Host **ret, Error **e);
/* The same; of the disks only those are asked that are behind the n controllers, or another member of their groups, and of the
 * guests only those that run with one of them. */
int probe_host_about(int root, ProbeFlags flags, const PciAddress *addresses, size_t n, Host **ret, Error **e);

/* The single sources, in the order probe_host calls them. Each adds to h. */
int probe_pci(Host *h, int root, ProbeFlags flags, Error **e);       /* functions, bridges, drivers, names, serial */
void probe_pci_locked(Host *h, int root, const PciAddress *a);      /* what a glance leaves out, of one function */
int probe_iommu(Host *h, int root, Error **e);                       /* groups, reserved regions, units, firmware tables */
int probe_acpi(Host *h, int root, Error **e);                        /* the firmware's IOMMU table */
int probe_system(Host *h, int root, bool live, Error **e);           /* command line, modules, parameters, architecture, boot id */
int probe_block(Host *h, int root, Error **e);                       /* disks, sizes, serials, what stands on them */
int probe_exports(Host *h, int root, Error **e);                     /* NVMe and SCSI targets */
int probe_mounts(Host *h, int root, bool live, Error **e);           /* mounts of every namespace, swap, fstab, crypttab, resume= */
int probe_guests(Host *h, int root, ProbeFlags flags, Error **e);    /* domains, their host devices and disks */
int probe_guest_drives(Host *h, int root, Error **e);                /* where these disks lie: once all guests are known */
int probe_groups_open(Host *h, int root, Error **e);                 /* VFIO groups that a process has open */
int probe_assigned(Host *h, int root, Error **e);                    /* /etc/passthru/assignments.d */
/* What libosinfo tells of the system in the guest (NULL: of none), for the checks: reading its files takes a quarter of a
 * second. After host_sort. */
int probe_guest_system(Host *h, const char *guest, Error **e);

/* Not called for a glance: only the checks need them. */
int probe_platform(Host *h, int root, Error **e);                    /* processor, interrupts, kernel's build, memory */
int probe_claims(Host *h, int root, Error **e);                      /* driverctl, modprobe.d, module options: after probe_system */
int probe_quirks(Host *h, const char *database, Error **e);          /* the hwdb at the path, NULL this machine's: after probe_pci */

/* The sources that PROBE_EXCLUSIVE, PROBE_HEALTH and PROBE_AGENTS add, of the controllers in question. */
typedef struct ProbeScope {
        const PciAddress *addresses;
        size_t n; /* 0: all */
} ProbeScope;

bool probe_scope_has(const ProbeScope *s, const PciAddress *a);
void probe_agents(Host *h, const ProbeScope *s); /* after host_sort; what goes wrong is in the Guest */
/* Tries to open each disk exclusively, and reads its signatures. */
int probe_disks(Host *h, int root, const ProbeScope *s, Error **e);
/* Who has a disk open, or another device behind the controllers. */
int probe_openers(Host *h, int root, const ProbeScope *s, Error **e);
/* After all others: names those that could not be opened and that nothing explains. */
int probe_disks_explain(Host *h, int root);
/* The disks' own judgement of their health, from smartctl. */
int probe_health(Host *h, const ProbeScope *s, Error **e);

/* One domain's XML (libvirt's own or from a file) into g: name, uuid, host devices, disk sources. `live` tells which definition
 * it is. Hostile input gives -EINVAL and a message. */
int guest_from_xml(const char *xml, bool live, Guest *g, Error **e);
