/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record/source.h"

#include "base/text.h"

/* Grouped by the probe that reads them, daemon/probe/NAME.c. Never here: rom, vpd and resourceN of a PCI function, whose
 * reading acts on the device, and anything that wakes a disk. */
const Source record_sources[] = {
        /* pci */
        { "/sys/bus/pci/devices/*", TREAT_LINK },
        { "/sys/bus/pci/devices/*/{class,vendor,device,subsystem_vendor,subsystem_device,revision,numa_node}", TREAT_TEXT },
        { "/sys/bus/pci/devices/*/{driver_override,reset_method,sriov_numvfs}", TREAT_TEXT },
        { "/sys/bus/pci/devices/*/config", TREAT_CONFIG },
        { "/sys/bus/pci/devices/*/{driver,iommu_group,physfn,subsystem}", TREAT_LINK },
        { "/sys/bus/pci/devices/*/{d3cold_allowed,remapped_nvme,power/control}", TREAT_TEXT },
        { "/sys/bus/pci/devices/*/{current,max}_link_{speed,width}", TREAT_TEXT },
        { "/sys/bus/pci/devices/*/firmware_node/power_resources_D3hot", TREAT_FOLDER },
        { "/sys/bus/pci/drivers/vfio-pci", TREAT_FOLDER },
        /* iommu */
        { "/sys/class/iommu", TREAT_FOLDER },
        { "/sys/class/iommu/*", TREAT_LINK },
        { "/sys/kernel/iommu_groups", TREAT_FOLDER },
        { "/sys/kernel/iommu_groups/*/{name,reserved_regions,type}", TREAT_TEXT },
        { "/sys/kernel/iommu_groups/*/devices/*", TREAT_LINK },
        /* acpi */
        { "/sys/firmware/acpi/tables", TREAT_FOLDER },
        { "/sys/firmware/acpi/tables/{DMAR,IVRS}", TREAT_BINARY },
        /* system */
        { "/proc/cmdline", TREAT_COMMAND_LINE },
        { "/proc/cpuinfo", TREAT_CPU },
        { "/proc/sys/kernel/random/boot_id", TREAT_TEXT },
        { "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", TREAT_TEXT },
        { "/sys/module/vfio_pci", TREAT_FOLDER },
        /* platform */
        { "/proc/{interrupts,meminfo}", TREAT_TEXT },
        { "/proc/sys/kernel/osrelease", TREAT_TEXT },
        { "/boot/config-*", TREAT_KERNEL_CONFIG },
        { "/lib/modules/*/modules.builtin", TREAT_TEXT },
        { "/sys/module/{vfio_iommu_type1,iommufd}/parameters/allow_unsafe_interrupts", TREAT_TEXT },
        { "/sys/module/vfio_pci/parameters/disable_idle_d3", TREAT_TEXT },
        { "/sys/{class/misc,devices/system/cpu,devices/system/edac/mc}", TREAT_FOLDER },
        { "/sys/class/misc/kvm", TREAT_LINK },
        { "/sys/devices/system/edac/mc/mc*", TREAT_FOLDER },
        { "/sys/devices/system/edac/mc/mc*/*/dimm_edac_mode", TREAT_TEXT },
        { "/sys/devices/system/node/online", TREAT_TEXT },
        /* claims */
        { "/etc", TREAT_FOLDER },
        { "/etc/driverctl.d/*", TREAT_TEXT },
        { "/{etc,run,usr/local/lib,usr/lib,lib}/modprobe.d/*.conf", TREAT_MODPROBE },
        /* block */
        { "/sys/class/block/*", TREAT_LINK },
        { "/sys/class/block/*/{dev,size,partition}", TREAT_TEXT },
        { "/sys/class/block/*/serial", TREAT_SERIAL },
        { "/sys/class/block/*/{,device/}wwid", TREAT_WWN },
        { "/sys/class/block/*/{holders,slaves}/*", TREAT_LINK },
        { "/sys/class/block/*/device", TREAT_LINK },
        { "/sys/class/block/*/device/serial", TREAT_SERIAL },
        { "/sys/class/block/*/device/vpd_pg80", TREAT_PAGE },
        { "/sys/class/block/*/device/model", TREAT_TEXT },
        { "/sys/class/block/*/{dm/uuid,dm/name,md/array_state}", TREAT_TEXT },
        { "/sys/class/block/*/{md,bcache}", TREAT_FOLDER },
        { "/sys/class/block/*/bcache/dev", TREAT_LINK },
        { "/sys/fs/btrfs/*/label", TREAT_TEXT },
        { "/sys/fs/btrfs/*/devices/*", TREAT_LINK },
        /* devices: other nodes of the same disks */
        { "/sys/class/{scsi_generic,bsg,scsi_tape,scsi_changer,nvme-generic,scsi_device,scsi_host}/*", TREAT_LINK },
        { "/sys/class/{scsi_generic,bsg,scsi_tape,scsi_changer,nvme,nvme-generic}/*/dev", TREAT_TEXT },
        { "/sys/class/{scsi_generic,bsg,scsi_tape,scsi_changer,scsi_device}/*/device", TREAT_LINK },
        { "/sys/class/nvme/*", TREAT_LINK },
        { "/sys/class/nvme-subsystem/*/nvme*", TREAT_LINK },
        { "/run/udev/data/b*:*", TREAT_PROPERTIES },
        /* exports */
        { "/sys/class/block/loop*/loop/backing_file", TREAT_TEXT },
        { "/sys/kernel/config/nvmet/subsystems/*/namespaces/*/{device_path,enable}", TREAT_TEXT },
        { "/sys/kernel/config/nvmet/subsystems/*/passthru/{device_path,enable}", TREAT_TEXT },
        { "/sys/kernel/config/target/core/*/*/{udev_path,info}", TREAT_TEXT },
        /* mounts; record.c adds one process of each other mount namespace */
        { "/proc/1/mountinfo", TREAT_MOUNTS },
        { "/proc/swaps", TREAT_TEXT },
        { "/proc/spl/kstat/zfs/*", TREAT_FOLDER },
        { "/etc/{fstab,crypttab}", TREAT_TABLE },
        { "/dev/disk/by-{uuid,partuuid}/*", TREAT_UUID_LINK },
        { "/dev/disk/by-{label,partlabel}/*", TREAT_LINK },
        { "/dev/mapper/*", TREAT_LINK },
        /* assigned */
        { "/etc/passthru/assignments.d/*.json", TREAT_TEXT },
        /* guests: their definitions come from libvirt, see record.c */
        { "/etc/libvirt/qemu", TREAT_FOLDER },
        { "/etc/libvirt/storage/*.xml", TREAT_POOL },
};
const size_t n_record_sources = ELEMENTSOF(record_sources);

/* -- what is left out ---------------------------------------------------------------------------------------------------- */

typedef int (*LineFilter)(FILE *f, char *line);

/* Line by line; the filter writes what is kept. */
static char *filtered(const char *text, LineFilter filter) {
        _cleanup_free_ char *copy = strdup(text), *kept = NULL;
        char *save = NULL;
        size_t size;
        FILE *f = copy ? open_memstream(&kept, &size) : NULL;

        if (!f)
                return NULL;
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if (filter(f, line) < 0)
                        break;
        return fclose(f) == 0 ? TAKE_PTR(kept) : NULL;
}

static bool begins_with_one(const char *s, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strncmp(s, words[i], strlen(words[i])) == 0)
                        return true;
        return false;
}

/* Ends with the line after which the second processor begins. Boards write their serial number here, too. */
static int keep_cpu(FILE *f, char *line) {
        static const char *const keys[] = { "processor", "vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU " };

        if (strncmp(line, "processor", strlen("processor")) == 0 && ftell(f) > 0)
                return -1;
        if (begins_with_one(line, keys, ELEMENTSOF(keys)))
                (void) fprintf(f, "%s\n", line);
        return 0;
}

char *source_cpu(const char *text) {
        return filtered(text, keep_cpu);
}

/* "/dev/sda1", "UUID=…": what is no such name may be a server's, with its user's password. */
static bool is_device(const char *source) {
        const char *equals = strchr(source, '=');

        return strncmp(source, "/dev/", 5) == 0 || (equals > source && !strpbrk(source, ":@") && strchr("ADLE", equals[-1]));
}

/* Passwords and keys stand in parameters of programs that nobody knows all of, so the known ones are kept. */
static bool is_harmless(const char *word, const char *value) {
        static const char *const devices[] = { "root=", "resume=" };
        static const char *const keys[] = {
                "BOOT_IMAGE=", "rootfstype=", "intel_iommu=", "amd_iommu=", "iommu=", "iommu.", "vfio",
                "pci=", "pcie_", "pcie_acs_override=", "kvm", "modprobe.blacklist=", "module_blacklist=", "softdep=", "hugepages",
                "default_hugepagesz=", "hugepagesz=", "isolcpus=", "mitigations=", "console=", "crashkernel=", "nvme", "ahci", "libata.",
                "mpt3sas", "passthru=", "rd.driver.", "init=", "panic=", "loglevel=", "lsm=", "apparmor=", "security=", "systemd.unit=",
        };

        if (begins_with_one(word, devices, ELEMENTSOF(devices)))
                return is_device(value);
        return begins_with_one(word, keys, ELEMENTSOF(keys)) && !strpbrk(value, "@") && !strstr(value, "://");
}

char *source_command_line(const char *text) {
        _cleanup_free_ char *copy = strdup(text), *kept = NULL;
        char *save = NULL;
        size_t size;
        FILE *f = copy ? open_memstream(&kept, &size) : NULL;

        if (!f)
                return NULL;
        for (char *word = strtok_r(copy, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
                const char *value = strchr(word, '=');
                if (str_equal(word, "--"))
                        break; /* what follows is init's */
                bool known = !value || is_harmless(word, value + 1);
                (void) fprintf(f, "%s%.*s%s", ftell(f) > 0 ? " " : "", known ? (int) strlen(word) : (int) (value - word), word,
                               known ? "" : "=(left-out)");
        }
        (void) fputc('\n', f);
        return fclose(f) == 0 ? TAKE_PTR(kept) : NULL;
}

/* Sources on servers name other hosts, and their options passwords. */
static int keep_entry(FILE *f, char *line) {
        char words[2][1024], options[1024] = "";

        if (line[strspn(line, " \t")] == '#' || sscanf(line, "%1023s %1023s %*s %1023s", words[0], words[1], options) < 2)
                return 0;
        if (is_device(words[0]) || is_device(words[1])) /* of the options only what the probe asks for */
                (void) fprintf(f, "%s %s%s\n", words[0], words[1], strstr(options, "noauto") ? " - noauto" : "");
        return 0;
}

char *source_table(const char *text) {
        return filtered(text, keep_entry);
}

/* proc_pid_mountinfo(5): "36 35 98:0 /root /target options optional... - type source options" */
static int keep_mount(FILE *f, char *line) {
        const char *rest = strstr(line, " - ");
        unsigned major = 0;
        char type[64], source[4096];

        if (!rest || sscanf(line, "%*s %*s %u:", &major) != 1 || sscanf(rest + 3, "%63s %4095s", type, source) != 2)
                return 0;
        if (major != 0 || strncmp(source, "/dev/", 5) == 0 || str_equal(type, "zfs"))
                (void) fprintf(f, "%s\n", line);
        return 0;
}

char *source_mounts(const char *text) {
        return filtered(text, keep_mount);
}

/* modprobe.d(5): of the options those that the probe asks for; others may be a WLAN's key. */
static int keep_module(FILE *f, char *line) {
        static const char *const modules[] = { "vfio", "iommufd" };
        static const char *const options[] = { "ids=", "allow_unsafe_interrupts", "disable_idle_d3" };
        char *save = NULL, *command = strtok_r(line, " \t", &save), *module = command ? strtok_r(NULL, " \t", &save) : NULL;
        bool softdep = str_equal(command, "softdep");

        if (!module || (!softdep && (!str_equal(command, "options") || !begins_with_one(module, modules, ELEMENTSOF(modules)))))
                return 0;
        (void) fprintf(f, "%s %s", command, module);
        for (const char *word = strtok_r(NULL, " \t", &save); word; word = strtok_r(NULL, " \t", &save))
                if (softdep || begins_with_one(word, options, ELEMENTSOF(options)))
                        (void) fprintf(f, " %s", word);
        (void) fputc('\n', f);
        return 0;
}

char *source_modprobe(const char *text) {
        _cleanup_free_ char *joined = strdup(text);

        if (!joined)
                return NULL;
        text_join_lines(joined);
        return filtered(joined, keep_module);
}

static int keep_property(FILE *f, char *line) {
        static const char *const keys[] = { "E:ID_SCSI_SERIAL=", "E:ID_SERIAL_SHORT=", "E:ID_WWN", "E:ID_MODEL=", "E:ID_FS_TYPE=",
                                            "E:ID_FS_LABEL=", "E:ID_FS_UUID=", "E:ID_PART_TABLE_" };

        if (begins_with_one(line, keys, ELEMENTSOF(keys)))
                (void) fprintf(f, "%s%s\n", ftell(f) > 0 ? "" : "V:1\n", line);
        return 0;
}

static int keep_option(FILE *f, char *line) {
        static const char *const keys[] = { "CONFIG_INTEL_IOMMU", "CONFIG_AMD_IOMMU", "CONFIG_IOMMU", "CONFIG_VFIO", "CONFIG_IRQ_REMAP" };

        if (begins_with_one(line, keys, ELEMENTSOF(keys)))
                (void) fprintf(f, "%s\n", line);
        return 0;
}

char *source_kernel_config(const char *text) {
        return filtered(text, keep_option);
}

char *source_properties(const char *text) {
        return filtered(text, keep_property);
}
