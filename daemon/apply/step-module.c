/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <libkmod.h>

#include <errno.h>

#include "apply/step.h"

typedef struct kmod_ctx KmodContext;
typedef struct kmod_list KmodList;

DEFINE_CLEANUP(KmodContext *, kmod_unref)
DEFINE_CLEANUP(KmodList *, kmod_module_unref_list)

int module_load(const char *name, Error **e) {
        _cleanup_(kmod_unrefp) KmodContext *kmod = kmod_new(NULL, NULL);
        _cleanup_(kmod_module_unref_listp) KmodList *modules = NULL;
        KmodList *i;

        if (!kmod)
                return error_oom(e);
        int r = kmod_module_new_from_lookup(kmod, name, &modules);
        if (r < 0 || !modules)
                return error_set_full(e, r < 0 ? -r : ENOENT, "no-module", "Install the kernel's modules package.",
                                      "the running kernel has no module for %s", name);
        kmod_list_foreach(i, modules) {
                struct kmod_module *module = kmod_module_get_module(i);
                /* A blacklist bars a module that a modalias asks for, as with modprobe(8); what bound nothing is found
                 * out later. softdeps are honoured: vfio brings vfio_iommu_type1 with it (MODULE_SOFTDEP,
                 * drivers/vfio/vfio_main.c) */
                r = kmod_module_probe_insert_module(module, KMOD_PROBE_APPLY_BLACKLIST_ALIAS_ONLY, NULL, NULL, NULL,
                                                    NULL);
                kmod_module_unref(module);
                if (r < 0)
                        return error_set_full(e, -r, "no-module", "The kernel's log (journalctl -k) tells why.",
                                              "the module %s cannot be loaded: %s", name, strerror(-r));
        }
        return 0;
}
