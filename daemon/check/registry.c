/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check/family.h"

#include <errno.h>

const Check *const checks[] = {
        &check_cpu_virtualization,
        &check_iommu_enabled,
        &check_interrupt_remapping,
        &check_acs_override,
        &check_vfio_available,
        &check_no_iommu_mode,
        &check_host_boot_path,
        &check_host_disk_use,
        &check_disk_shared_path,
        &check_guest_conflict,
        &check_guest_disk_on_controller,
        &check_guest_machine,
        &check_guest_ports,
        &check_guest_memory,
        &check_guest_balloon,
        &check_guest_rom,
        &check_guest_virtio,
        &check_guest_autostart,
        &check_group_isolated,
        &check_group_platform,
        &check_reserved_region,
        &check_sr_iov,
        &check_competing_binder,
        &check_reset_method,
        &check_interrupt_mode,
        &check_power_state,
        &check_hardware_quirk,
        &check_vmd_or_remapped,
        &check_driver_builtin,
        &check_twin_device,
        &check_pcie_link,
        &check_numa_local,
        &check_ecc_memory,
        &check_disk_data,
        &check_smart_health,
};
const size_t n_checks = ELEMENTSOF(checks);

const Check *check_find(const char *id) {
        for (size_t i = 0; i < n_checks; i++)
                if (str_equal(checks[i]->id, id))
                        return checks[i];
        return NULL;
}

int check_result(const Finding *f) {
        return f ? 0 : -ENOMEM;
}

bool request_has(const CheckRequest *q, const PciAddress *a) {
        for (size_t i = 0; i < q->n_controllers; i++)
                if (pci_address_equal(&q->controllers[i], a))
                        return true;
        return false;
}

bool host_is_x86(const Host *h) {
        return h->architecture && (strncmp(h->architecture, "x86", 3) == 0 || (*h->architecture == 'i' && strstr(h->architecture, "86")));
}

bool command_line_has(const Host *h, const char *word) {
        const char *line = h->command_line;
        size_t n = strlen(word);

        for (const char *s = line ? strstr(line, word) : NULL; s; s = strstr(s + n, word))
                if ((s == line || strchr(" ,=", s[-1])) && strchr(" \n,=", s[n]))
                        return true;
        return false;
}

char *function_describe(const PciFunction *f) {
        _cleanup_free_ char *model = pci_function_model(f);
        char *text;

        if (asprintf(&text, "%s %s (class %06x, driver %s)", PCI_ADDRESS_STR(&f->address), model ? model : "", f->class,
                     f->driver ? f->driver : "none") < 0)
                return NULL;
        return text;
}

static int run_scope(const Host *h, const CheckRequest *q, CheckScope scope, const PciFunction *f, FindingList *l) {
        for (size_t i = 0; i < n_checks; i++) {
                if (checks[i]->scope != scope)
                        continue;
                int r = checks[i]->run(checks[i], h, q, f, l);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int run_guest(const Host *h, const CheckRequest *q, FindingList *l) {
        return q->guest ? run_scope(h, q, CHECK_SCOPE_GUEST, NULL, l) : 0;
}

static int run_controllers(const Host *h, const CheckRequest *q, FindingList *l) {
        for (size_t i = 0; i < q->n_controllers; i++) {
                int r = run_scope(h, q, CHECK_SCOPE_CONTROLLER, host_find_function(h, &q->controllers[i]), l);
                if (r < 0)
                        return r;
        }
        return 0;
}

int check_run(const Host *h, const CheckRequest *q, FindingList *l, Error **e) {
        for (size_t i = 0; i < q->n_controllers; i++) {
                int r = check_address(h, &q->controllers[i], NULL, e);
                if (r < 0)
                        return r;
        }
        if (run_scope(h, q, CHECK_SCOPE_HOST, NULL, l) < 0 || run_guest(h, q, l) < 0 || run_controllers(h, q, l) < 0)
                return error_oom(e);
        return 0;
}

int check_address(const Host *h, const PciAddress *a, const PciFunction **ret, Error **e) {
        const PciFunction *f = host_find_function(h, a);

        if (!f)
                return error_set_full(e, ENODEV, "no-such-device", "`passthructl list` shows the storage controllers there are.",
                                      "no PCI device is at %s", PCI_ADDRESS_STR(a));
        if (!pci_function_is_controller(f)) {
                _cleanup_free_ char *what = function_describe(f);
                return error_set_full(e, EINVAL, "not-a-controller",
                                      "`passthructl list` shows the storage controllers there are.",
                                      "%s is not a storage controller%s", what ? what : PCI_ADDRESS_STR(a),
                                      pci_function_is_bridge(f) ? " but a bridge" : "");
        }
        if (ret)
                *ret = f;
        return 0;
}

static int preflight_each(const Host *h, const char *guest, FindingList *l) {
        const CheckRequest nobody = { .guest = guest };

        int r = run_scope(h, &nobody, CHECK_SCOPE_HOST, NULL, l);
        if (r >= 0)
                r = run_guest(h, &nobody, l);
        for (size_t i = 0; r >= 0 && i < h->n_functions; i++) {
                const CheckRequest q = { .controllers = &h->functions[i].address, .n_controllers = 1, .guest = guest };
                if (pci_function_is_controller(&h->functions[i]))
                        r = run_controllers(h, &q, l);
        }
        return r;
}

int check_preflight(const Host *h, const PciAddress *addresses, size_t n, const char *guest, FindingList *l, Error **e) {
        const CheckRequest q = { .controllers = addresses, .n_controllers = n, .guest = guest };

        if (guest && h->guests_known && !host_find_guest(h, guest))
                return error_set_full(e, ENOENT, "no-such-guest", "`virsh list --all` shows the guests there are.",
                                      "libvirt knows no guest %s", guest);
        if (n > 0)
                return check_run(h, &q, l, e);
        return preflight_each(h, guest, l) < 0 ? error_oom(e) : 0;
}

bool check_allows(const FindingList *l, char *const *accept, size_t n_accept) {
        for (size_t i = 0; i < l->n; i++) {
                bool accepted = false;
                if (l->items[i].verdict == VERDICT_SKIP && l->items[i].kind != CHECK_ACCEPTABLE)
                        return false;
                if (l->items[i].verdict != VERDICT_FAIL)
                        continue;
                for (size_t j = 0; j < n_accept; j++)
                        accepted |= str_equal(accept[j], l->items[i].check);
                if (!accepted || l->items[i].kind != CHECK_ACCEPTABLE)
                        return false;
        }
        return true;
}
