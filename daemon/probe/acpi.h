/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/firmware.h"

/* One ACPI table, DMAR or IVRS, whatever its bytes are. -EBADMSG with a message when it cannot be understood; then *ret is
 * untouched. */
int acpi_parse(const uint8_t *table, size_t size, Firmware *ret, Error **e);
