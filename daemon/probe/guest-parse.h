/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"
#include "probe/xml.h"

/* The parts of a domain's XML; inside probe/ only. All return 0, -EINVAL or -ENOMEM. */

/* More of one kind than any guest has: hostile input, which would take long. */
#define GUEST_PARTS_MAX 4096

/* <domain>, NULL: there is none; with a message. */
int guest_read_domain(xmlNodePtr domain, bool live, Guest *g, Error **e);

int guest_add_device(Guest *g, const GuestDevice *d);    /* takes the alias */
int guest_read_pci_address(xmlNodePtr n, PciAddress *ret);

int guest_read_disk(xmlNodePtr n, bool live, Guest *g);        /* <disk> */
int guest_read_scsi_device(xmlNodePtr n, Guest *g);            /* <hostdev type='scsi'> */
int guest_read_vhost_target(xmlNodePtr n, Guest *g);           /* <hostdev type='scsi_host'> */
/* Once all devices are read: what hangs on a virtio-scsi controller is paravirtual. */
int guest_read_scsi_controllers(xmlNodePtr devices, Guest *g);
int drive_add_source(GuestDrive *d, char *source);             /* takes the source; NULL is -ENOMEM */

/* <memory>, balloon, network cards, ports, and the system that the metadata names. */
int guest_read_resources(xmlNodePtr domain, bool live, Guest *g);
