/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/host.h"

/*
 * Why the kernel put a function into one IOMMU group with others: Access Control Services on the way to the root (PCI
 * Express Base Specification 5.0, section 6.12). This only explains; the kernel's groups are the truth.
 */

/* What keeps function f from passing others' requests on to each other or to devices below it. TRI_UNKNOWN: config space beyond
 * 64 bytes could not be read. *ret_why (static, for people) is set unless TRI_YES. */
Tri acs_isolates(const PciFunction *f, const char **ret_why);

/* The first hop from f towards the root, f itself included, that does not isolate; NULL when all do, or when *ret_unknown is
 * a hop that could not be read and not NULL. */
const PciFunction *acs_first_gap(const Host *h, const PciFunction *f, const char **ret_why, const PciFunction **ret_unknown);

/* A slot whose port the kernel keeps apart from others, so that a card in it gets a group of its own; an empty one before one
 * with a card in it. NULL: none that is known. */
const PciFunction *acs_better_slot(const Host *h, const PciFunction *f, const PciFunction **ret_holds);

/* False: it is part of the mainboard, so nothing else can be at its place. */
bool function_is_card(const Host *h, const PciFunction *f);
