/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/macros.h"

/* World-wide names of disks, which each source writes in its own way. */

#define WWN_MAX 300

/* How many characters before the name itself tell its kind: 2 of "0x5000…", 4 of "naa.5000…", 1 of scsi_id's "35000…", 0 of others. */
size_t wwn_prefix(const char *wwn);
/* One form for all sources ("naa.5000c500a1b2c3d4"), by which names can be compared. False when the text cannot tell a disk from
 * all others: none, too long, all zeros or ones, or made by libata of model and serial number ("t10.ATA …"), which cheap disks share. */
bool wwn_normal(const char *wwn, char ret[static WWN_MAX]);
