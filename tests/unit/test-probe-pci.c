/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the checks of the platform and of PCI functions are fed with, read from a directory laid out like /. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>

#include "base/file.h"
#include "check/acs.h"
#include "probe/config-space.h"
#include "probe/probe.h"
#include "support-tree.h"

static const PciAddress controller = { 0, 3, 0, 0 };

static Host *read_host(const Tree *m, ProbeFlags flags) {
        _cleanup_error_ Error *e = NULL;
        Host *h = NULL;

        if (probe_host(m->root, flags, &h, &e) < 0)
                fail_msg("%s", e->message);
        return h;
}

static const PciFunction *it(const Host *h) {
        const PciFunction *f = host_find_function(h, &controller);

        assert_non_null(f);
        return f;
}

/* -- config space: "OFFSET: BYTE BYTE ..." a line, as lspci -x prints it ---------------------------------------------------- */

static void fill(uint8_t *config, size_t size, const char *text) {
        memset(config, 0, size);
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                unsigned offset, byte;
                int n;
                assert_int_equal(sscanf(line, "%x:%n", &offset, &n), 1);
                for (const char *s = line + n; *s && *s != '\n' && sscanf(s, "%2x%n", &byte, &n) == 1; s += n) {
                        assert_true(offset < size);
                        config[offset++] = (uint8_t) byte;
                }
        }
}

#define HEADER "00: 86 80 22 29 00 00 10 00\n08: 02 01 06 01\n"

static PciFunction decoded(size_t size, const char *text) {
        uint8_t config[4096];
        PciFunction f = {};

        fill(config, sizeof config, text);
        config_space_decode(&f, config, size);
        return f;
}

static void capabilities_are_found(void **state) {
        /* power management, MSI, PCI Express (root port with a slot); ACS after a serial number */
        const char *text = HEADER "0e: 81\n34: 40\n40: 01 50\n50: 05 60\n60: 10 00 42 01\n"
                                  "100: 03 00 81 10 01 02 03 04 05 06 07 08\n108: 0d 00 01 00 1f 00 1d 00\n";
        PciFunction f = decoded(4096, HEADER "34: 40\n40: 11 00\n");

        (void) state;
        assert_int_equal(f.msi, TRI_YES);
        assert_int_equal(f.pcie_type, PCIE_CONVENTIONAL);
        assert_int_equal(f.acs, TRI_NO);
        assert_int_equal(f.header_type, 0);
        assert_false(f.multifunction);
        f = decoded(4096, text);
        assert_int_equal(f.msi, TRI_YES);
        assert_int_equal(f.pcie_type, PCI_EXP_TYPE_ROOT_PORT);
        assert_true(f.slot);
        assert_true(f.multifunction);
        assert_int_equal(f.header_type, 1);
        assert_true(f.has_serial);
}

static void acs_is_decoded(void **state) {
        const char *text = HEADER "0e: 01\n34: 60\n60: 10 00 42 00\n100: 03 00 01 11 01 02 03 04 05 06 07 08\n"
                                  "110: 0d 00 01 00 1f 00 1d 00\n";
        /* an Intel 100 series root port, whose registers are of 32 bits */
        const char *wide = "00: 86 80 10 a1 00 00 10 00\n0e: 01\n34: 60\n60: 10 00 42 00\n100: 0d 00 01 00 1f 00 00 00 1d 00\n";
        const char *why = "";

        (void) state;
        PciFunction f = decoded(4096, text);
        assert_int_equal(f.acs, TRI_YES);
        assert_int_equal(f.acs_able, 0x1f);
        assert_int_equal(f.acs_on, 0x1d);
        assert_int_equal(f.serial, 0x0807060504030201);
        assert_int_equal(acs_isolates(&f, &why), TRI_YES);
        f = decoded(4096, wide);
        assert_int_equal(f.acs_on, 0x1d);
        f = decoded(4096, HEADER "0e: 01\n34: 60\n60: 10 00 42 00\n");
        assert_int_equal(f.acs, TRI_NO);
        assert_int_equal(acs_isolates(&f, &why), TRI_NO);
}

/* As the kernel has it, whatever a header says: 00:1f.2 of Intel's chipsets, the SATA controller, has the bit clear. */
static void one_of_several_functions(void **state) {
        uint8_t config[256];
        PciFunction onboard = { .address = { 0, 0, 0x1f, 2 } }, vf = { .address = { 0, 3, 0x10, 1 }, .is_vf = true };

        (void) state;
        fill(config, sizeof config, HEADER);
        config_space_decode(&onboard, config, sizeof config);
        config_space_decode(&vf, config, sizeof config);
        assert_true(onboard.multifunction);
        assert_false(vf.multifunction);
}

/* Without privilege 64 bytes can be read, without MMCONFIG 256: what lies beyond is not absent. */
static void what_is_not_read_is_unknown(void **state) {
        const char *text = HEADER "34: 60\n60: 10 00 02 00\n";

        (void) state;
        PciFunction f = decoded(64, text);
        assert_int_equal(f.msi, TRI_UNKNOWN);
        assert_int_equal(f.pcie_type, PCIE_UNKNOWN);
        assert_int_equal(f.acs, TRI_UNKNOWN);
        assert_int_equal(f.config_dead, TRI_NO);
        f = decoded(256, text);
        assert_int_equal(f.msi, TRI_NO);
        assert_int_equal(f.pcie_type, PCI_EXP_TYPE_ENDPOINT);
        assert_int_equal(f.acs, TRI_UNKNOWN);
        f = decoded(256, HEADER);
        assert_int_equal(f.acs, TRI_NO);
        f = decoded(10, text);
        assert_int_equal(f.config_dead, TRI_UNKNOWN);
        assert_int_equal(f.header_type, -1);
}

/* What is read of a file tells the same as the whole of it. */
static void config_space_is_read_where_it_matters(void **state) {
        static const char *const spaces[] = {
                "", "100: 03 00 01 00 01 02 03 04 05 06 07 08", "100: 01 00 01 20 00\n200: 0d 00 c1 ff 1f 00 1d 00\nffc: 03 00 01 00",
                "100: 01 00 01 ff 00\nff0: 03 00 01 10 08 07 06 05 04 03 02 01", "100: 01 00 01 10 00", "40: 05 00 00 00",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(spaces); i++)
                for (size_t size = 0; size <= CONFIG_SPACE_SIZE; size += size < 512 ? 4 : 512) {
                        uint8_t whole[CONFIG_SPACE_SIZE], config[CONFIG_SPACE_SIZE];
                        PciFunction f = {}, g = {};
                        _cleanup_fclose_ FILE *file = tmpfile();
                        fill(whole, sizeof whole, spaces[i]);
                        whole[PCI_STATUS] = PCI_STATUS_CAP_LIST;
                        whole[PCI_CAPABILITY_LIST] = 0x40;
                        assert_int_equal(pwrite(fileno(file), whole, size, 0), size);
                        config_space_decode(&f, whole, size);
                        config_space_decode(&g, config, config_space_read(fileno(file), false, config));
                        assert_int_equal(g.serial, f.serial);
                        assert_int_equal(g.msi, f.msi);
                        assert_int_equal(g.acs_on, f.acs_on);
                        /* less than one extended capability is none */
                        if (size <= 256 || size >= 512)
                                assert_int_equal(g.acs, f.acs);
                        assert_int_equal(config_space_read(fileno(file), true, config), size < 64 ? 0 : 64);
                }
}

static void hostile_config_space_ends(void **state) {
        uint8_t config[4096];
        PciFunction f = {};

        (void) state;
        /* lists that bite their own tails, and every offset at the end */
        f = decoded(4096, HEADER "34: 40\n40: 01 40\n100: 01 00 01 10\n");
        assert_int_equal(f.msi, TRI_NO);
        f = decoded(4096, HEADER "34: ff\nfc: 10 fc 42 01\n100: 0d 00 f1 ff\nffc: 03 00 c1 ff\n");
        assert_int_equal(f.pcie_type, PCI_EXP_TYPE_ROOT_PORT);
        memset(config, 0xff, sizeof config);
        for (size_t size = 0; size <= sizeof config; size++)
                config_space_decode(&f, config, size);
        assert_int_equal(f.config_dead, TRI_YES);
        /* the ids of a virtual function read as ones, its class does not */
        config[PCI_CLASS_REVISION] = 1;
        config_space_decode(&f, config, sizeof config);
        assert_int_equal(f.config_dead, TRI_NO);
}

/* -- the function's attributes ----------------------------------------------------------------------------------------------- */

static void power_and_link_are_read(void **state) {
        Tree *m = *state;

        tree_put(m, DEVICE "/d3cold_allowed", "1\n");
        tree_put(m, DEVICE "/power/control", "auto\n");
        tree_put_link(m, DEVICE "/firmware_node", "../../../LNXSYSTM:00/device:01");
        tree_put(m, "sys/devices/LNXSYSTM:00/device:01/power_resources_D3hot/.keep", "");
        tree_put(m, DEVICE "/current_link_speed", "2.5 GT/s PCIe\n");
        tree_put(m, DEVICE "/max_link_speed", "16.0 GT/s PCIe\n");
        tree_put(m, DEVICE "/current_link_width", "4\n");
        tree_put(m, DEVICE "/max_link_width", "8\n");
        tree_put(m, DEVICE "/remapped_nvme", "1\n");
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        const PciFunction *f = it(h);
        assert_int_equal(f->d3cold_allowed, TRI_YES);
        assert_int_equal(f->runtime_pm, TRI_YES);
        assert_int_equal(f->power_switch, TRI_YES);
        assert_int_equal(f->link_speed, 2500);
        assert_int_equal(f->link_speed_max, 16000);
        assert_int_equal(f->link_width, 4);
        assert_int_equal(f->link_width_max, 8);
        assert_int_equal(f->remapped_nvme, 1);
        tree_put(m, DEVICE "/current_link_speed", "Unknown\n");
        _cleanup_(host_freep) Host *down = read_host(m, 0);
        assert_int_equal(it(down)->link_speed, 0);
}

/* -- the platform -------------------------------------------------------------------------------------------------------------- */

static void the_platform_is_read(void **state) {
        Tree *m = *state;

        tree_put(m, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm_lock svm\nbugs\t\t: vmx\n");
        tree_put(m, "sys/class/misc/kvm/dev", "10:232\n");
        tree_put(m, "proc/interrupts", "           CPU0\n  1:  9  IR-IO-APIC   1-edge  i8042\n");
        tree_put(m, "sys/firmware/acpi/tables/IVRS", "x");
        tree_put(m, "proc/sys/kernel/osrelease", "6.1.0-9-amd64\n");
        tree_put(m, "boot/config-6.1.0-9-amd64", "CONFIG_AMD_IOMMU=y\n# CONFIG_INTEL_IOMMU is not set\n");
        tree_put(m, "lib/modules/6.1.0-9-amd64/modules.builtin", "kernel/drivers/ata/ahci.ko\n");
        tree_put(m, "sys/devices/system/edac/mc/mc0/dimm0/dimm_edac_mode", "SECDED\n");
        tree_put(m, "sys/devices/system/node/online", "0-1\n");
        tree_put(m, "sys/module/vfio_pci/parameters/disable_idle_d3", "Y\n");
        tree_put(m, "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        assert_int_equal(h->cpu_virtualization, TRI_YES);
        assert_int_equal(h->kvm, TRI_YES);
        assert_int_equal(h->interrupts_remapped, TRI_YES);
        assert_string_equal(h->firmware_table, "IVRS");
        assert_int_equal(h->iommu_built, TRI_YES);
        assert_int_equal(h->iommu_default_on, TRI_YES);
        assert_string_equal(h->builtin_modules, "kernel/drivers/ata/ahci.ko\n");
        assert_int_equal(h->ecc, TRI_YES);
        assert_string_equal(h->numa_nodes, "0-1");
        assert_int_equal(h->idle_d3_disabled, TRI_YES);
        assert_non_null(strstr(h->unsafe_interrupts, "vfio_iommu_type1"));
}

static void a_poor_platform_is_read(void **state) {
        Tree *m = *state;

        tree_put(m, "proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu svm_lock xvmx\nbugs\t\t: vmx\n");
        tree_put(m, "sys/class/misc/fuse/dev", "10:229\n");
        tree_put(m, "proc/interrupts", "           CPU0\n  1:  9  IO-APIC   1-edge  IR-x\n");
        tree_put(m, "sys/firmware/acpi/tables/DMAR", "x");
        tree_put(m, "proc/sys/kernel/osrelease", "6.1.0\n");
        tree_put(m, "boot/config-6.1.0", "CONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n");
        tree_put(m, "sys/devices/system/edac/mc/mc0/dimm0/dimm_edac_mode", "None\n");
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        assert_int_equal(h->cpu_virtualization, TRI_NO);
        assert_int_equal(h->kvm, TRI_NO);
        assert_int_equal(h->iommu_built, TRI_YES);
        assert_int_equal(h->iommu_default_on, TRI_NO);
        assert_int_equal(h->ecc, TRI_NO);
        assert_null(h->unsafe_interrupts);
        assert_null(h->builtin_modules);
}

static void an_unread_platform_is_unknown(void **state) {
        Tree *m = *state;

        tree_put(m, "proc/sys/kernel/osrelease", "../../etc\n");
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        assert_int_equal(h->cpu_virtualization, TRI_UNKNOWN);
        assert_int_equal(h->kvm, TRI_UNKNOWN);
        assert_int_equal(h->interrupts_remapped, TRI_UNKNOWN);
        assert_int_equal(h->ecc, TRI_UNKNOWN);
        assert_null(h->kernel_release);
        assert_false(h->claims_known);
}

static void memory_nodes_of_guests_are_read(void **state) {
        Tree *m = *state;

        tree_put(m, "etc/libvirt/qemu/nas.xml", "<domain type='kvm'><name>nas</name><numatune><memory mode='strict' nodeset='1'/>"
                                                "</numatune><devices/></domain>");
        _cleanup_(host_freep) Host *h = read_host(m, PROBE_GUESTS);
        assert_string_equal(host_find_guest(h, "nas")->memory_nodes, "1");
}

/* -- claims ---------------------------------------------------------------------------------------------------------------------- */

static const Claim *find_claim(const Host *h, ClaimKind kind, const char *text) {
        for (size_t i = 0; i < h->n_claims; i++)
                if (h->claims[i].kind == kind && str_equal(h->claims[i].text, text))
                        return &h->claims[i];
        fail_msg("no claim \"%s\"", text);
        return NULL;
}

static void claims_are_read(void **state) {
        Tree *m = *state;

        tree_put(m, "etc/driverctl.d/0000:03:00.0", "vfio-pci\n");
        tree_put(m, "etc/driverctl.d/pci-0000:04:00.0", "pci-stub\n");
        tree_put(m, "etc/driverctl.d/README", "vfio-pci\n");
        tree_put(m, "etc/modprobe.d/local.conf", "# options vfio-pci ids=dead:beef\n"
                                                 "options vfio_pci disable_vga=1 ids=1000:0097,\\\n8086:2922:1af4:1100:010600:ffff00\n"
                                                 "softdep ahci pre: libata vfio-pci post: other\nsoftdep nvme post: vfio-pci\n"
                                                 "options vfio_iommu_type1 allow_unsafe_interrupts=1\noptions\nsoftdep\n");
        tree_put(m, "etc/modprobe.d/local.conf.bak", "options vfio-pci ids=dead:beef\n");
        tree_put(m, "usr/lib/modprobe.d/local.conf", "options vfio-pci ids=dead:beef\n");
        tree_put(m, "lib/modprobe.d/other.conf", "options vfio-pci ids=10de:1b80\n");
        tree_put(m, "proc/cmdline", "quiet vfio-pci.ids=144d:a808 xvfio-pci.ids=dead:beef ids=dead:beef\n");
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        assert_true(h->claims_known);
        assert_int_equal(h->n_claims, 7);
        assert_true(pci_address_equal(&find_claim(h, CLAIM_DRIVERCTL, "driver vfio-pci")->address, &controller));
        assert_string_equal(find_claim(h, CLAIM_DRIVERCTL, "driver pci-stub")->where, "/etc/driverctl.d/pci-0000:04:00.0");
        const Claim *ids = find_claim(h, CLAIM_IDS, "vfio-pci ids=1000:0097");
        assert_int_equal(ids->vendor, 0x1000);
        assert_int_equal(ids->subsystem_vendor, UINT32_MAX);
        assert_int_equal(ids->class_mask, 0);
        ids = find_claim(h, CLAIM_IDS, "vfio-pci ids=8086:2922:1af4:1100:010600:ffff00");
        assert_int_equal(ids->subsystem_device, 0x1100);
        assert_int_equal(ids->class_mask, 0xffff00);
        assert_string_equal(ids->where, "/etc/modprobe.d/local.conf");
        assert_string_equal(find_claim(h, CLAIM_IDS, "vfio-pci ids=144d:a808")->where, "/proc/cmdline");
        assert_string_equal(find_claim(h, CLAIM_SOFTDEP, "softdep ahci pre: vfio-pci")->driver, "ahci");
        (void) find_claim(h, CLAIM_IDS, "vfio-pci ids=10de:1b80");
        assert_string_equal(h->unsafe_interrupts, "/etc/modprobe.d/local.conf");
}

static void interrupts_stay_safe(void **state) {
        Tree *m = *state;

        tree_put(m, "etc/modprobe.d/local.conf", "options vfio_iommu_type1 allow_unsafe_interrupts=0 allow_unsafe_interrupts= "
                                                 "allow_unsafe_interruptsx=1\n"
                                                 "options other allow_unsafe_interrupts=1\n");
        tree_put(m, "proc/cmdline", "iommufd.allow_unsafe_interrupts=n\n");
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        assert_null(h->unsafe_interrupts);
        tree_put(m, "proc/cmdline", "iommufd.allow_unsafe_interrupts\n");
        _cleanup_(host_freep) Host *unsafe = read_host(m, 0);
        assert_string_equal(unsafe->unsafe_interrupts, "/proc/cmdline");
}

static void hostile_text_is_cleaned(void **state) {
        char text[5000];
        Tree *m = *state;

        tree_put(m, "etc/driverctl.d/0000:03:00.0", "vfio\033[2J\n");
        (void) snprintf(text, sizeof text, "softdep %04000d pre: vfio-pci\n", 1);
        tree_put(m, "etc/modprobe.d/\033x.conf", text);
        _cleanup_(host_freep) Host *h = read_host(m, 0);
        assert_string_equal(find_claim(h, CLAIM_DRIVERCTL, "driver vfio?[2J")->driver, "vfio?[2J");
        assert_int_equal(h->n_claims, 2);
        for (size_t i = 0; i < h->n_claims; i++) {
                assert_null(strchr(h->claims[i].where, '\033'));
                assert_true(strlen(h->claims[i].text) <= 200);
        }
}

/* -- the hardware database ---------------------------------------------------------------------------------------------------------- */

#define RECORDS "rules/70-passthru.hwdb"
#define HWDB "etc/udev/hwdb.d"

static void compile(const Tree *m) {
        char command[256];

        (void) snprintf(command, sizeof command, "systemd-hwdb --strict --root=%s update 2>&1", m->path);
        assert_int_equal(system(command), 0);
}

static char *records(void) {
        char *text = NULL;

        if (file_read(AT_FDCWD, RECORDS, &text, NULL) < 0)
                fail_msg("%s is read from the top of the source", RECORDS);
        return text;
}

static void add_function(Host *h, uint16_t vendor, uint16_t device, uint16_t subsystem_device) {
        h->functions = reallocarray(h->functions, h->n_functions + 1, sizeof *h->functions);
        h->functions[h->n_functions++] = (PciFunction){
                .vendor = vendor, .device = device, .subsystem_vendor = vendor, .subsystem_device = subsystem_device, .class = 0x010601,
        };
}

static Host *looked_up(const Tree *m) {
        _cleanup_error_ Error *e = NULL;
        char path[128];
        Host *h = host_new();

        add_function(h, 0x1b4b, 0x9230, 1);
        add_function(h, 0x1b21, 0x0612, 1);
        add_function(h, 0x9005, 0x0285, 0x02bb);
        add_function(h, 0x9005, 0x0285, 0x02bd);
        add_function(h, 0x8086, 0x2922, 1);
        (void) snprintf(path, sizeof path, "%s/etc/udev/hwdb.bin", m->path);
        assert_int_equal(probe_quirks(h, path, &e), 0);
        return h;
}

static void our_records_are_found(void **state) {
        _cleanup_free_ char *text = records();
        Tree *m = *state;

        tree_put(m, HWDB "/70-passthru.hwdb", text);
        compile(m);
        _cleanup_(host_freep) Host *h = looked_up(m);
        assert_int_equal(h->quirks_known, TRI_YES);
        assert_int_equal(h->functions[0].n_quirks, 1);
        const Quirk *q = &h->functions[0].quirks[0];
        assert_string_equal(q->name, "DMA_ALIAS");
        assert_string_equal(q->severity, "warn");
        assert_non_null(strstr(q->reason, "function 1"));
        assert_non_null(strstr(q->source, "quirk_dma_func1_alias"));
        assert_non_null(q->remedy);
        assert_int_equal(h->functions[1].n_quirks, 2);
        assert_int_equal(h->functions[2].n_quirks, 1);
        assert_int_equal(h->functions[3].n_quirks, 0);
        assert_int_equal(h->functions[4].n_quirks, 0);
}

static void users_add_and_take_back(void **state) {
        _cleanup_free_ char *text = records();
        Tree *m = *state;

        tree_put(m, HWDB "/70-passthru.hwdb", text);
        tree_put(m, HWDB "/71-local.hwdb", "pci:v00001B4Bd00009230*\n PASSTHRU_QUIRK_DMA_ALIAS=none\n"
                                           "\npci:v00008086d00002922*\n PASSTHRU_QUIRK_MINE=fail\n");
        compile(m);
        _cleanup_(host_freep) Host *h = looked_up(m);
        assert_string_equal(h->functions[0].quirks[0].severity, "none");
        assert_string_equal(h->functions[4].quirks[0].name, "MINE");
        assert_null(h->functions[4].quirks[0].source);
}

static void without_our_records_nothing_is_known(void **state) {
        Tree *m = *state;

        _cleanup_(host_freep) Host *none = looked_up(m);
        assert_int_equal(none->quirks_known, TRI_NO);
        tree_put(m, HWDB "/71-local.hwdb", "pci:v00001B4Bd00009230*\n PASSTHRU_QUIRK_MINE=fail\n");
        compile(m);
        _cleanup_(host_freep) Host *h = looked_up(m);
        assert_int_equal(h->quirks_known, TRI_NO);
}

/* Every record has a severity that is one, a reason, and a source, and a comment that names the source. */
static void every_record_is_complete(void **state) {
        _cleanup_free_ char *text = records();
        size_t quirks = 0, reasons = 0, sources = 0, comments = 0;
        char *save = NULL;

        (void) state;
        for (const char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                const char *value = strchr(line, '=');
                if (strncmp(line, " PASSTHRU_QUIRK_", 16) == 0) {
                        assert_true(value && (str_equal(value, "=info") || str_equal(value, "=warn") || str_equal(value, "=fail")));
                        quirks++;
                }
                reasons += strncmp(line, " PASSTHRU_REASON_", 17) == 0 && value && value[1];
                sources += strncmp(line, " PASSTHRU_SOURCE_", 17) == 0 && value && value[1];
                comments += strncmp(line, "# Source: ", 10) == 0;
        }
        assert_true(quirks >= 20);
        assert_int_equal(reasons, quirks);
        assert_int_equal(sources, quirks);
        assert_int_equal(comments, quirks);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(capabilities_are_found),
                cmocka_unit_test(acs_is_decoded),
                cmocka_unit_test(one_of_several_functions),
                cmocka_unit_test(what_is_not_read_is_unknown),
                cmocka_unit_test(hostile_config_space_ends),
                cmocka_unit_test(config_space_is_read_where_it_matters),
                TREE_TEST(power_and_link_are_read),
                TREE_TEST(the_platform_is_read),
                TREE_TEST(a_poor_platform_is_read),
                TREE_TEST(an_unread_platform_is_unknown),
                TREE_TEST(memory_nodes_of_guests_are_read),
                TREE_TEST(claims_are_read),
                TREE_TEST(interrupts_stay_safe),
                TREE_TEST(hostile_text_is_cleaned),
                TREE_TEST(our_records_are_found),
                TREE_TEST(users_add_and_take_back),
                TREE_TEST(without_our_records_nothing_is_known),
                cmocka_unit_test(every_record_is_complete),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
