/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/host.h"

/* What size bytes of a function's config space tell: header type, PCIe serial, port type, MSI, ACS. Takes any bytes. */
void config_space_decode(PciFunction *f, const uint8_t *config, size_t size);
