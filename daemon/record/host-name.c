/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record/host-name.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "probe/recording.h"
#include "record/source.h"

/* -- words that are no names --------------------------------------------------------------------------------------------- */

/* What the recorded files say in words of their format, which the probes look for. */
static const char format_words[] =
        /* command line, modules */
        "root rootfstype quiet splash on off pt resume console auto single vfio vfio-pci pci ids iommu intel amd kvm nvme ahci sata scsi "
        "options softdep pre post "
        /* attributes, meminfo, cpuinfo, interrupts */
        "direct relaxable reserved msi flr bus pm acpi device specific active inactive clear clean enabled disabled default memory total "
        "huge processor vendor model flags features family stepping vmx svm ecc secded unknown none unit path file status activated "
        /* file systems and signatures */
        "ext2 ext3 ext4 xfs btrfs zfs vfat fat ntfs tmpfs swap partition filename type size used priority gpt dos linux raid member lvm "
        "lvm2 crypto luks bcache multipath mpath crypt md dm uuid label partuuid partlabel "
        /* what a disk or a guest is */
        "group members host port mount guest target process loop holder exclusive configured running paused shut unusual state "
        /* libvirt's XML */
        "domain name title metadata os type machine arch hvm boot loader nvram cpu vcpu memory backing numatune nodeset devices disk "
        "cdrom floppy lun block file network volume nvme vhostuser driver qemu raw qcow2 source target address alias serial wwn hostdev "
        "subsystem mode managed yes no rom bar controller interface bridge user virtio virtio-scsi scsi sata ide usb pci pcie pcie-root "
        "pcie-root-port drive adapter fc_host scsi_host memballoon graphics vnc spice video input sound channel unix agent console rng "
        "pool dir fs netfs logical iscsi snapshot features q35 pc i440fx x86 lib osinfo";

/* As aliases are found: where letters and digits begin and end. */
static bool has_word(const char *text, const char *word) {
        size_t n = strlen(word);

        for (const char *s = n > 0 ? strcasestr(text, word) : NULL; s; s = strcasestr(s + 1, word))
                if ((s == text || !isalnum((unsigned char) s[-1])) && !isalnum((unsigned char) s[n]))
                        return true;
        return false;
}

/* recording_to_json's keys. */
static bool keys_have(json_t *j, const char *word) {
        const char *key;
        json_t *value;
        size_t i;

        json_array_foreach(j, i, value)
                if (keys_have(value, word))
                        return true;
        json_object_foreach(j, key, value)
                if (has_word(key, word) || keys_have(value, word))
                        return true;
        return false;
}

/* A name that the recording needs for its own files and formats tells nobody whose machine it is, and an alias would spoil it. */
static bool is_common(const Recorder *r, const char *name) {
        _cleanup_json_ json_t *j = recording_to_json(r->host);

        for (size_t i = 0; i < n_record_sources; i++)
                if (has_word(record_sources[i].pattern, name))
                        return true;
        return has_word(format_words, name) || has_word(RECORDING_FILE, name) || (j && keys_have(j, name));
}

/* -- names --------------------------------------------------------------------------------------------------------------- */

/* "nas.example.org" is also called "nas", and other hosts are in "example.org"; but "lan" is a word. */
static int learn_name(Recorder *r, const char *name) {
        _cleanup_free_ char *first = strndup(name, strcspn(name, "."));
        const char *domain = strchr(name, '.');
        int s = 0;

        if (!first)
                return -ENOMEM;
        if (!is_common(r, first))
                s = aliases_add(r->aliases, ALIAS_HOST, first);
        if (s >= 0 && domain && domain[1])
                s = aliases_add(r->aliases, ALIAS_HOST, name);
        if (s >= 0 && domain && strchr(domain + 1, '.'))
                s = aliases_add(r->aliases, ALIAS_HOST, domain + 1);
        return s;
}

static bool is_called(const char *name, const char *host) {
        size_t n = strcspn(host, ".");

        return strncasecmp(name, host, n) == 0 && (!name[n] || name[n] == '.');
}

/* hosts(5): "127.0.1.1 nas.example.org nas" */
static int learn_line(Recorder *r, char *line, const char *host) {
        char *names[32], *save = NULL;
        size_t n = 0;
        bool ours = false;
        int s = 0;

        line[strcspn(line, "#")] = 0;
        if (!strtok_r(line, " \t", &save)) /* the address */
                return 0;
        for (char *name = strtok_r(NULL, " \t", &save); name && n < ELEMENTSOF(names); name = strtok_r(NULL, " \t", &save)) {
                ours |= is_called(name, host);
                if (!is_called(name, "localhost") && strncmp(name, "ip6-", 4) != 0)
                        names[n++] = name;
        }
        for (size_t i = 0; ours && s >= 0 && i < n; i++)
                s = learn_name(r, names[i]);
        return s;
}

static int learn_hosts(Recorder *r, const char *host) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        int s = 0;

        if (file_read(r->root, "/etc/hosts", &text, NULL) < 0)
                return 0;
        for (char *line = strtok_r(text, "\n", &save); s >= 0 && line; line = strtok_r(NULL, "\n", &save))
                s = learn_line(r, line, host);
        return s;
}

/* resolv.conf(5): "search example.org lan", "domain example.org" */
static int learn_domains(Recorder *r, const char *host) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        int s = 0;

        if (file_read(r->root, "/etc/resolv.conf", &text, NULL) < 0)
                return 0;
        for (char *line = strtok_r(text, "\n", &save); s >= 0 && line; line = strtok_r(NULL, "\n", &save)) {
                char *words = NULL, *word = strtok_r(line, " \t", &words);
                if (!str_equal(word, "search") && !str_equal(word, "domain"))
                        continue;
                while (s >= 0 && (word = strtok_r(NULL, " \t", &words))) {
                        _cleanup_free_ char *name = NULL;
                        s = asprintf(&name, "%.*s.%s", (int) strcspn(host, "."), host, word) < 0 ? -ENOMEM : learn_name(r, name);
                }
        }
        return s;
}

static int learn_host(Recorder *r, const char *host) {
        int s = learn_name(r, host);

        if (s >= 0)
                s = learn_hosts(r, host);
        return s < 0 ? s : learn_domains(r, host);
}

int learn_host_names(Recorder *r) {
        _cleanup_free_ char *name = NULL;
        struct utsname u;
        int s = 0;

        if (attr_read(r->root, "/etc/hostname", &name) >= 0)
                s = learn_host(r, name);
        return s >= 0 && r->root == AT_FDCWD && uname(&u) >= 0 ? learn_host(r, u.nodename) : s;
}
