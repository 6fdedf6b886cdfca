/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "change.h"

int verb_assign(const Arguments *a, Error **e) {
        const Change c = {
                .plan_method = "PlanAssign", .method = "Assign", .addresses = a->words, .n_addresses = a->n_words - 1,
                .guest = a->words[a->n_words - 1], .accepts = true, .flag = a->no_attach,
        };

        int r = check_addresses(c.addresses, c.n_addresses, e);
        return r < 0 ? r : change_run(a, &c, e);
}

int verb_release(const Arguments *a, Error **e) {
        const Change c = {
                .plan_method = "PlanRelease", .method = "Release", .addresses = a->words, .n_addresses = a->n_words,
                .guest = a->guest ? a->guest : "", .flag = a->force_unplug,
        };

        if (!a->n_words == !a->guest)
                return usage_error(e, "name either controllers or --guest NAME");
        int r = check_addresses(c.addresses, c.n_addresses, e);
        return r < 0 ? r : change_run(a, &c, e);
}
