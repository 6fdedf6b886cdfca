/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/host.h"

#define CONFIG_SPACE_SIZE 4096

/* Reads from the open file what config_space_decode looks at, and leaves the rest zero: each word is asked from the hardware, which
 * takes a microsecond, or many in a virtual machine. config has CONFIG_SPACE_SIZE bytes; returns how many of them are known. */
size_t config_space_read(int fd, bool header_only, uint8_t *config);
/* What size bytes of a function's config space tell: header type, PCIe serial, port type, MSI, ACS. Takes any bytes. */
void config_space_decode(PciFunction *f, const uint8_t *config, size_t size);
