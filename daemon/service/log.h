/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/pci-address.h"

/* Structured journal entries; what they are about goes into PASSTHRU_CONTROLLER=, PASSTHRU_GUEST= and so on. */

typedef struct LogObject {
        const PciAddress *controllers;
        size_t n_controllers;
        const char *guest;
        const json_t *accept; /* checks that the user accepted: [string] */
        const json_t *uid; /* who asked: integer */
} LogObject;

/* o may be NULL. Also to standard error, unless that is the journal. */
void log_object(int priority, const LogObject *o, const char *format, ...) _printf_(3, 4);
