/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What other tools have set up to take controllers at boot: driverctl, and module options of vfio-pci in modprobe.d(5) or
 * on the kernel's command line. libkmod reads the same files, but mixes the running machine's command line into them,
 * whatever directories it is given, and does not tell which file says what.
 */
#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/probe.h"

/* What is shown of a line. */
#define TEXT_MAX 200

static int add_claim(Host *h, Claim *c, const char *where, const char *text) {
        Claim *more = reallocarray(h->claims, h->n_claims + 1, sizeof *more);

        h->claims = more ? more : h->claims;
        c->where = strdup(where);
        c->text = strndup(text, TEXT_MAX);
        if (!more || !c->where || !c->text) {
                claim_clear(c);
                return -ENOMEM;
        }
        text_clean(c->where);
        text_clean(c->text);
        text_clean(c->driver);
        more[h->n_claims++] = *c;
        return 0;
}

/* -- driverctl ----------------------------------------------------------------------------------------------------------- */

#define DRIVERCTL "/etc/driverctl.d"

/* One file a function, named by its address, before which newer versions put "pci-"; it holds the driver's name. */
static int read_override(Host *h, int root, const char *name) {
        _cleanup_free_ char *path = NULL, *driver = NULL, *text = NULL;
        Claim c = { .kind = CLAIM_DRIVERCTL };

        if (pci_address_parse(strncmp(name, "pci-", 4) == 0 ? name + 4 : name, &c.address) < 0)
                return 0;
        if (asprintf(&path, DRIVERCTL "/%s", name) < 0)
                return -ENOMEM;
        if (attr_read(root, path, &driver) < 0)
                return 0;
        if (!(c.driver = strndup(driver, TEXT_MAX)) || asprintf(&text, "driver %s", driver) < 0) {
                claim_clear(&c);
                return -ENOMEM;
        }
        return add_claim(h, &c, path, text);
}

static int read_overrides(Host *h, int root) {
        _cleanup_closedir_ DIR *d = dir_stream(root, DRIVERCTL);
        const struct dirent *entry;
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = dir_next(d, &r)))
                r = read_override(h, root, entry->d_name);
        return r;
}

/* -- modules -------------------------------------------------------------------------------------------------------------- */

/* Module names may be written with '-' or '_' (modprobe(8)). */
static bool is_module(const char *name, size_t n, const char *module) {
        if (n != strlen(module))
                return false;
        for (size_t i = 0; i < n; i++)
                if ((name[i] == '-' ? '_' : name[i]) != module[i])
                        return false;
        return true;
}

/* "vvvv:dddd[:ssss[:ssss[:cccccc[:mmmmmm]]]]", comma-separated: vfio_pci_fill_ids, drivers/vfio/pci/vfio_pci.c */
static int read_ids(Host *h, const char *ids, const char *where) {
        _cleanup_free_ char *copy = strdup(ids);
        char *save = NULL;

        if (!copy)
                return -ENOMEM;
        for (char *id = strtok_r(copy, ",\"'", &save); id; id = strtok_r(NULL, ",\"'", &save)) {
                Claim c = { .kind = CLAIM_IDS, .subsystem_vendor = UINT32_MAX, .subsystem_device = UINT32_MAX };
                _cleanup_free_ char *text = NULL;
                if (sscanf(id, "%8x:%8x:%8x:%8x:%8x:%8x", &c.vendor, &c.device, &c.subsystem_vendor, &c.subsystem_device, &c.class,
                           &c.class_mask) < 2)
                        continue;
                int r = asprintf(&text, "vfio-pci ids=%s", id) < 0 ? -ENOMEM : add_claim(h, &c, where, text);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What follows the name of a bool: without a value it is on (param_set_bool, kernel/params.c; kstrtobool). */
static bool is_on(const char *value) {
        static const char *const words[] = { "", "=1", "=y", "=Y", "=t", "=T", "=on", "=On", "=ON" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (str_equal(value, words[i]))
                        return true;
        return false;
}

static int read_option(Host *h, const char *module, size_t n, const char *option, const char *where) {
        static const char unsafe[] = "allow_unsafe_interrupts";

        if (is_module(module, n, "vfio_pci") && strncmp(option, "ids=", 4) == 0)
                return read_ids(h, option + 4, where);
        if (!is_module(module, n, "vfio_iommu_type1") && !is_module(module, n, "iommufd"))
                return 0;
        size_t length = strlen(unsafe);
        if (strncmp(option, unsafe, length) != 0 || !is_on(option + length))
                return 0;
        if (!h->unsafe_interrupts && !(h->unsafe_interrupts = strdup(where)))
                return -ENOMEM;
        text_clean(h->unsafe_interrupts);
        return 0;
}

/* "softdep ahci pre: vfio-pci post: other" */
static int read_softdep(Host *h, const char *module, char **save, const char *where) {
        bool before = false;

        for (const char *word = strtok_r(NULL, " \t", save); word; word = strtok_r(NULL, " \t", save)) {
                if (str_equal(word, "pre:") || str_equal(word, "post:")) {
                        before = *word == 'p' && word[1] == 'r';
                        continue;
                }
                if (!before || !is_module(word, strlen(word), "vfio_pci"))
                        continue;
                Claim c = { .kind = CLAIM_SOFTDEP, .driver = strndup(module, TEXT_MAX) };
                _cleanup_free_ char *text = NULL;
                if (!c.driver || asprintf(&text, "softdep %s pre: vfio-pci", module) < 0) {
                        claim_clear(&c);
                        return -ENOMEM;
                }
                return add_claim(h, &c, where, text);
        }
        return 0;
}

static int read_line(Host *h, char *line, const char *where) {
        char *save = NULL;
        const char *command = strtok_r(line, " \t", &save), *module = command ? strtok_r(NULL, " \t", &save) : NULL;
        int r = 0;

        if (!module)
                return 0;
        if (str_equal(command, "softdep"))
                return read_softdep(h, module, &save, where);
        if (!str_equal(command, "options"))
                return 0;
        for (const char *option = strtok_r(NULL, " \t", &save); option && r >= 0; option = strtok_r(NULL, " \t", &save))
                r = read_option(h, module, strlen(module), option, where);
        return r;
}

static int read_file(Host *h, int root, const char *path) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        int r = 0;

        if (file_read(root, path, &text, NULL) < 0)
                return 0;
        text_join_lines(text);
        for (char *line = strtok_r(text, "\n", &save); line && r >= 0; line = strtok_r(NULL, "\n", &save))
                r = read_line(h, line, path);
        return r;
}

static const char *const folders[] = { "/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d",
                                       "/lib/modprobe.d" };

/* A file hides those of its name in later folders. */
static bool is_hidden(int root, size_t folder, const char *name) {
        for (size_t i = 0; i < folder; i++) {
                _cleanup_free_ char *path = NULL;
                if (asprintf(&path, "%s/%s", folders[i], name) >= 0 && file_exists(root, path))
                        return true;
        }
        return false;
}

static int read_folder(Host *h, int root, size_t folder) {
        _cleanup_closedir_ DIR *d = dir_stream(root, folders[folder]);
        const struct dirent *entry;
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = dir_next(d, &r))) {
                _cleanup_free_ char *path = NULL;
                const char *suffix = strrchr(entry->d_name, '.');
                if (!str_equal(suffix, ".conf") || is_hidden(root, folder, entry->d_name))
                        continue;
                r = asprintf(&path, "%s/%s", folders[folder], entry->d_name) < 0 ? -ENOMEM : read_file(h, root, path);
        }
        return r;
}

/* "vfio-pci.ids=1000:0097": kmod takes MODULE.OPTION off the command line, as the kernel does for what is built in. */
static int read_command_line(Host *h) {
        _cleanup_free_ char *copy = strdup(h->command_line);
        char *save = NULL;
        int r = 0;

        if (!copy)
                return -ENOMEM;
        for (const char *word = strtok_r(copy, " \t\n", &save); word && r >= 0; word = strtok_r(NULL, " \t\n", &save)) {
                const char *dot = strchr(word, '.');
                if (dot)
                        r = read_option(h, word, (size_t) (dot - word), dot + 1, "/proc/cmdline");
        }
        return r;
}

int probe_claims(Host *h, int root, Error **e) {
        int r = read_overrides(h, root);

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(folders); i++)
                r = read_folder(h, root, i);
        if (r >= 0 && h->command_line)
                r = read_command_line(h);
        h->claims_known = r >= 0 && h->command_line && file_exists(root, "/etc");
        return r == -ENOMEM ? error_oom(e) : 0;
}
