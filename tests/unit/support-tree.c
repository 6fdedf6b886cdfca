/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "model/controller.h"
#include "probe/probe.h"

/* -- files --------------------------------------------------------------------------------------------------------- */

void tree_make_directories(const Tree *m, const char *path) {
        _cleanup_free_ char *copy = strdup(path);

        for (char *p = strchr(copy, '/'); p; p = strchr(p + 1, '/')) {
                *p = 0;
                assert_true(mkdirat(m->root, copy, 0755) == 0 || errno == EEXIST);
                *p = '/';
        }
}

void tree_put(const Tree *m, const char *path, const char *text) {
        tree_make_directories(m, path);
        _cleanup_close_ int fd = openat(m->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

void tree_remove_path(const Tree *m, const char *path) {
        char command[256];

        (void) snprintf(command, sizeof command, "rm -rf %s/%s", m->path, path);
        assert_int_equal(system(command), 0);
}

void tree_put_link(const Tree *m, const char *path, const char *target) {
        tree_make_directories(m, path);
        (void) unlinkat(m->root, path, 0);
        assert_int_equal(symlinkat(target, m->root, path), 0);
}

void tree_assert_file(const Tree *m, const char *path, const char *expected) {
        _cleanup_free_ char *text = NULL;

        assert_int_equal(attr_read(m->root, path, &text), 0);
        assert_string_equal(text, expected);
}

void tree_assert_driver(const Tree *m, const char *expected) {
        _cleanup_free_ char *driver = NULL;

        int r = link_read_name(m->root, DEVICE "/driver", &driver);
        if (!expected) {
                assert_int_equal(r, -ENOENT);
                return;
        }
        assert_int_equal(r, 0);
        assert_string_equal(driver, expected);
}

void tree_set_driver(const Tree *m, const char *driver) {
        char target[128];

        if (!driver) {
                (void) unlinkat(m->root, DEVICE "/driver", 0);
                return;
        }
        (void) snprintf(target, sizeof target, "../../../../bus/pci/drivers/%s", driver);
        tree_put_link(m, DEVICE "/driver", target);
}

/* -- the model of the kernel --------------------------------------------------------------------------------------- */

/* drivers/base/bus.c: drivers_probe takes the driver that the override names, else the one that matches. */
static void kernel_probe(Tree *m) {
        _cleanup_free_ char *override = NULL;

        if (m->fault == FAULT_BIND_IGNORED || file_exists(m->root, DEVICE "/driver"))
                return;
        assert_int_equal(attr_read(m->root, DEVICE "/driver_override", &override), 0);
        tree_set_driver(m, str_equal(override, "(null)") ? "ahci" : override);
}

static int kernel_effect(Tree *m, int dir, const char *name, const char *value) {
        _cleanup_free_ char *where = NULL;
        char link[64];

        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        assert_int_equal(path_resolve(AT_FDCWD, link, &where), 0);
        if (str_equal(name, "driver_override")) {
                assert_true(strstr(where, ADDRESS));
                tree_put(m, DEVICE "/driver_override", str_equal(value, "\n") ? "(null)\n" : value);
                return 0;
        }
        assert_string_equal(value, ADDRESS);
        if (str_equal(name, "drivers_probe")) {
                kernel_probe(m);
                return 0;
        }
        assert_string_equal(name, "unbind");
        if (m->fault != FAULT_UNBIND_IGNORED) {
                _cleanup_free_ char *driver = NULL;
                assert_int_equal(link_read_name(m->root, DEVICE "/driver", &driver), 0);
                assert_string_equal(strrchr(where, '/') + 1, driver);
                tree_set_driver(m, NULL);
        }
        return 0;
}

static int kernel_write(void *userdata, int dir, const char *name, const char *value) {
        Tree *m = userdata;
        int number = m->writes++;

        if (m->fault == FAULT_WRITE && number == m->at)
                return -EIO;
        if (m->fault == FAULT_DIE_BEFORE && number == m->at)
                _exit(0);
        int r = kernel_effect(m, dir, name, value);
        if (m->fault == FAULT_DIE_AFTER && number == m->at)
                _exit(0);
        return r;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

static void put_controller(const Tree *m) {
        static const char *const attributes[][2] = {
                { "vendor", "0x8086\n" },          { "device", "0x2922\n" },           { "subsystem_vendor",
                "0x1af4\n" },
                { "subsystem_device", "0x1100\n" }, { "class", "0x010601\n" },          { "revision", "0x02\n" },
                { "driver_override", "(null)\n" },  { "numa_node", "-1\n" },            { "irq", "0\n" },
                { "modalias", "pci:none\n" },       { "local_cpulist", "0\n" },         { "resource", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(attributes); i++) {
                char path[128];
                (void) snprintf(path, sizeof path, DEVICE "/%s", attributes[i][0]);
                tree_put(m, path, attributes[i][1]);
        }
        tree_put_link(m, "sys/bus/pci/devices/" ADDRESS, "../../../devices/pci0000:00/0000:00:02.0/" ADDRESS);
        tree_put_link(m, DEVICE "/iommu_group", "../../../../kernel/iommu_groups/5");
        tree_put_link(m, "sys/kernel/iommu_groups/5/devices/" ADDRESS,
                 "../../../../devices/pci0000:00/0000:00:02.0/" ADDRESS);
        tree_put(m, "sys/kernel/iommu_groups/5/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
        tree_put(m, "sys/bus/pci/drivers/ahci/unbind", "");
        tree_put(m, "sys/bus/pci/drivers/vfio-pci/unbind", "");
        tree_put(m, "sys/bus/pci/drivers_probe", "");
        tree_put(m, "proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
        tree_put(m, "etc/libvirt/qemu/nas.xml", "<domain type='kvm'><name>nas</name><devices/></domain>");
        tree_set_driver(m, "ahci");
}

void tree_read(Tree *m) {
        _cleanup_error_ Error *e = NULL;

        m->host = host_free(m->host);
        assert_int_equal(probe_host(m->root, PROBE_GUESTS, &m->host, &e), 0);
        m->context.host = m->host;
}

int tree_make(void **state) {
        Tree *m = calloc(1, sizeof *m);

        strcpy(m->path, "/tmp/passthru-apply-XXXXXX");
        assert_non_null(mkdtemp(m->path));
        m->root = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(m->root >= 0);
        put_controller(m);
        tree_put(m, "var/lib/passthru/.keep", "");
        m->plan = calloc(1, sizeof *m->plan);
        m->plan->kind = PLAN_ASSIGN;
        m->plan->guest = strdup("nas");
        m->context = (StepContext){
                .root = m->root,
                .sysroot = m->path,
                .plan = m->plan,
                .write = kernel_write,
                .write_userdata = m,
        };
        tree_read(m);
        *state = m;
        return 0;
}

int tree_remove(void **state) {
        Tree *m = *state;

        tree_remove_path(m, "");
        close(m->root);
        holds_release(&m->context);
        host_free(m->host);
        plan_free(m->plan);
        free(m);
        return 0;
}

/* -- steps --------------------------------------------------------------------------------------------------------- */

Step *tree_add_step(Tree *m, StepKind kind, const char *before, const char *after) {
        Plan *p = m->plan;

        p->steps = reallocarray(p->steps, p->n_steps + 1, sizeof *p->steps);
        assert_non_null(p->steps);
        Step *s = &p->steps[p->n_steps++];
        *s = (Step){
                .kind = kind,
                .subject = strdup(ADDRESS),
                .before = before ? strdup(before) : NULL,
                .after = after ? strdup(after) : NULL,
                .group = 5,
        };
        assert_int_equal(pci_address_parse(ADDRESS, &s->address), 0);
        return s;
}

char *tree_record(const Tree *m, const char *guest) {
        Assigned a = {};

        assert_non_null(m->host->functions);
        PciAddress address;
        assert_int_equal(pci_address_parse(ADDRESS, &address), 0);
        const PciFunction *f = host_find_function(m->host, &address);
        assert_non_null(f);
        assert_int_equal(assigned_from_host(m->host, f, guest, &a), 0);
        _cleanup_json_ json_t *j = assigned_to_json(&a);
        assigned_clear(&a);
        return json_dumps(j, JSON_SORT_KEYS);
}

void tree_put_disk(const Tree *m) {
        static const char block[] = DEVICE "/ata1/host0/target0:0:0/0:0:0:0/block/sda";
        char path[160], target[160];

        (void) snprintf(path, sizeof path, "%s/dev", block);
        tree_put(m, path, "8:0\n");
        (void) snprintf(path, sizeof path, "%s/size", block);
        tree_put(m, path, "2048\n");
        (void) snprintf(path, sizeof path, "%s/sda1/dev", block);
        tree_put(m, path, "8:1\n");
        (void) snprintf(path, sizeof path, "%s/sda1/partition", block);
        tree_put(m, path, "1\n");
        (void) snprintf(path, sizeof path, "%s/sda1/size", block);
        tree_put(m, path, "1024\n");
        (void) snprintf(path, sizeof path, "%s/device", block);
        tree_put_link(m, path, "../..");
        (void) snprintf(path, sizeof path, DEVICE "/ata1/host0/target0:0:0/0:0:0:0/scsi_generic/sg0/dev");
        tree_put(m, path, "21:0\n");
        (void) snprintf(path, sizeof path, "%s/subsystem", block);
        tree_put_link(m, path, "../../../../../../../../../../class/block");
        (void) snprintf(target, sizeof target, "../../%s", block + strlen("sys/"));
        tree_put_link(m, "sys/class/block/sda", target);
        tree_put_link(m, "sys/block/sda", target + strlen("../"));
        (void) snprintf(target, sizeof target, "../../%s/sda1", block + strlen("sys/"));
        tree_put_link(m, "sys/class/block/sda1", target);
        tree_put_link(m, "sys/class/scsi_generic/sg0", "../../../" DEVICE "/ata1/host0/target0:0:0/0:0:0:0/scsi_generic/sg0");
        tree_put_link(m, DEVICE "/ata1/host0/target0:0:0/0:0:0:0/scsi_generic/sg0/device", "../..");
}
