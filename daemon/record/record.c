/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>

#include "base/file.h"
#include "model/wwn.h"
#include "probe/recording.h"
#include "record/host-name.h"
#include "record/source.h"
#include "record/tree.h"

/* -- contents ------------------------------------------------------------------------------------------------------------ */

/* The serial number wherever it stands, as the probe has found it (PCI Express Base Specification 5.0, section 7.9.3). */
static int record_config(Recorder *r, const char *path, const char *real, char *config, size_t size) {
        const char *name = path + strlen("/sys/bus/pci/devices/");
        _cleanup_free_ char *address = strndup(name, strcspn(name, "/"));
        PciAddress a;
        uint64_t alias;

        const PciFunction *f = address && pci_address_parse(address, &a) >= 0 ? host_find_function(r->host, &a) : NULL;
        if (f && f->has_serial) {
                uint64_t serial = htole64(f->serial);
                if (aliases_number(r->aliases, f->serial, &alias) < 0)
                        return -ENOMEM;
                alias = htole64(alias);
                for (size_t at = 0; at + sizeof serial <= size; at++)
                        if (memcmp(config + at, &serial, sizeof serial) == 0)
                                memcpy(config + at, &alias, sizeof alias);
        }
        return tree_write(r, real, config, size);
}

static char *trimmed(char *text) {
        size_t n;

        text += strspn(text, " \n");
        for (n = strlen(text); n > 0 && strchr(" \n", text[n - 1]); n--)
                text[n - 1] = 0;
        return text;
}

static int record_value(Recorder *r, const char *path, char *text, AliasKind kind) {
        _cleanup_free_ char *alias = NULL;

        if (aliases_value(r->aliases, kind, trimmed(text), &alias) < 0)
                return -ENOMEM;
        return tree_write(r, path, alias, strlen(alias));
}

/* Its length stays, as the alias has the same. */
static int record_page(Recorder *r, const char *path, char *page, size_t size) {
        _cleanup_free_ char *alias = NULL, *number = size < 5 ? NULL : strdup(page + 4);

        if (size < 5)
                return 0;
        if (!number || aliases_value(r->aliases, ALIAS_SERIAL, trimmed(number), &alias) < 0)
                return -ENOMEM;
        memcpy(page + 4 + strspn(page + 4, " "), alias, strlen(alias));
        return tree_write(r, path, page, size);
}

/* A file that another program has spoilt is left out. */
static int record_pool(Recorder *r, const char *path, const char *xml) {
        _cleanup_free_ char *kept = pool_redact(xml, r->aliases);

        return kept ? tree_write_text(r, path, kept, strlen(kept)) : 0;
}

static int record_kept(Recorder *r, const char *path, char *kept) {
        int s = kept ? tree_write_text(r, path, kept, strlen(kept)) : -ENOMEM;

        free(kept);
        return s;
}

static int record_content(Recorder *r, const char *path, Treatment treatment) {
        _cleanup_free_ char *real = NULL, *data = NULL;
        size_t size;

        /* Unreadable or gone: unknown in the recording as well. */
        if (file_read(r->root, path, &data, &size) < 0)
                return 0;
        int s = tree_place(r, path, &real);
        if (s < 0)
                return s;
        switch (treatment) {
        case TREAT_CONFIG:
                return record_config(r, path, real, data, size);
        case TREAT_BINARY:
                return tree_write(r, real, data, size);
        case TREAT_PAGE:
                return record_page(r, real, data, size);
        case TREAT_SERIAL:
        case TREAT_WWN:
                return record_value(r, real, data, treatment == TREAT_WWN ? ALIAS_WWN : ALIAS_SERIAL);
        case TREAT_POOL:
                return record_pool(r, real, data);
        case TREAT_KERNEL_CONFIG:
                return record_kept(r, real, source_kernel_config(data));
        case TREAT_CPU:
                return record_kept(r, real, source_cpu(data));
        case TREAT_COMMAND_LINE:
                return record_kept(r, real, source_command_line(data));
        case TREAT_MODPROBE:
                return record_kept(r, real, source_modprobe(data));
        case TREAT_TABLE:
                return record_kept(r, real, source_table(data));
        case TREAT_MOUNTS:
                return record_kept(r, real, source_mounts(data));
        case TREAT_PROPERTIES:
                return record_kept(r, real, source_properties(data));
        default:
                return tree_write_text(r, real, data, size);
        }
}

static int record_path(Recorder *r, const char *path, Treatment treatment) {
        _cleanup_free_ char *real = NULL;
        int s;

        if (treatment == TREAT_LINK || treatment == TREAT_UUID_LINK)
                return tree_copy_link(r, path);
        if (treatment != TREAT_FOLDER)
                return record_content(r, path, treatment);
        if ((s = tree_place(r, path, &real)) < 0)
                return s;
        return tree_is_folder(r, real) ? tree_write_folder(r, real) : 0;
}

typedef int (*PathVisitor)(Recorder *r, const char *path, Treatment treatment);

static int for_each_path(Recorder *r, const Source *source, PathVisitor visit) {
        _cleanup_free_ char *pattern = NULL;
        char prefix[32] = "";
        glob_t found = {};

        if (r->root != AT_FDCWD)
                (void) snprintf(prefix, sizeof prefix, "/proc/self/fd/%d", r->root);
        if (asprintf(&pattern, "%s%s", prefix, source->pattern) < 0)
                return -ENOMEM;
        int s = glob(pattern, GLOB_BRACE, NULL, &found) == GLOB_NOSPACE ? -ENOMEM : 0;
        for (size_t i = 0; s >= 0 && i < found.gl_pathc; i++)
                s = visit(r, found.gl_pathv[i] + strlen(prefix), source->treatment);
        globfree(&found);
        return s;
}

/* -- what no pattern finds ------------------------------------------------------------------------------------------------ */

static int compare_numbers(const struct dirent **a, const struct dirent **b) {
        long x = strtol((*a)->d_name, NULL, 10), y = strtol((*b)->d_name, NULL, 10);

        return x < y ? -1 : x > y;
}

static int is_number(const struct dirent *entry) {
        return strspn(entry->d_name, "0123456789") == strlen(entry->d_name);
}

static int record_namespace(Recorder *r, const char *pid, char **seen) {
        _cleanup_free_ char *link = NULL, *name = NULL, *files = NULL, *mounts = NULL, *word = NULL, *more = NULL;

        if (asprintf(&link, "/proc/%s/ns/mnt", pid) < 0 || asprintf(&files, "/proc/%s/comm", pid) < 0 ||
            asprintf(&mounts, "/proc/%s/mountinfo", pid) < 0)
                return -ENOMEM;
        if (link_read(r->root, link, &name) < 0)
                return 0;
        if (asprintf(&word, "%s\n", name) < 0)
                return -ENOMEM;
        if (*seen && strstr(*seen, word))
                return 0;
        if (asprintf(&more, "%s%s", *seen ? *seen : "", word) < 0)
                return -ENOMEM;
        free(*seen);
        *seen = TAKE_PTR(more);
        int s = tree_write_link(r, link, name);
        return s < 0 || (s = record_content(r, files, TREAT_TEXT)) < 0 ? s : record_content(r, mounts, TREAT_MOUNTS);
}

/* The first process of each mount namespace, as the probe takes it. */
static int record_namespaces(Recorder *r) {
        _cleanup_close_ int proc = dir_open(r->root, "/proc");
        _cleanup_free_ char *seen = NULL;
        struct dirent **entries = NULL;
        int s = 0;

        int n = proc < 0 ? 0 : scandirat(proc, ".", &entries, is_number, compare_numbers);
        if (n < 0)
                return -errno;
        for (int i = 0; i < n; i++) {
                if (s >= 0)
                        s = record_namespace(r, entries[i]->d_name, &seen);
                free(entries[i]);
        }
        free(entries);
        return s;
}

/* Names of devices in what was recorded: "/dev/disk/by-id/ata-…", "/dev/vg/root". */
static int record_references(Recorder *r) {
        _cleanup_free_ char *text = TAKE_PTR(r->references);
        int s = 0;

        for (char *at = text ? strstr(text, "/dev/") : NULL; s >= 0 && at; at = strstr(at, "/dev/")) {
                size_t n = strcspn(at, " \t\n\"'<>,");
                char after = at[n];
                at[n] = 0;
                if (file_exists(r->root, at))
                        s = tree_copy_link(r, at);
                at[n] = after;
                at += n;
        }
        return s;
}

/* Of one that goes into RECORDING_FILE. */
static int redact_in_place(Recorder *r, char **definition) {
        char *kept = *definition ? definition_redact(*definition, r->aliases) : NULL;

        free(*definition);
        *definition = kept;
        return kept && tree_refer(r, kept) < 0 ? -ENOMEM : 0;
}

static int record_guest(Recorder *r, Guest *g) {
        _cleanup_free_ char *path = NULL, *kept = NULL;

        if (redact_in_place(r, &g->live_definition) < 0 || (g->session && redact_in_place(r, &g->definition) < 0))
                return -ENOMEM;
        /* libvirt allows no '/' in a name; a session's guest has one from us. */
        if (!g->definition || strchr(g->name, '/'))
                return 0;
        kept = definition_redact(g->definition, r->aliases);
        if (!kept || asprintf(&path, "/etc/libvirt/qemu/%s.xml", g->name) < 0)
                return -ENOMEM;
        return tree_write_text(r, path, kept, strlen(kept));
}

static int learn_assigned(Recorder *r, const Assigned *a) {
        uint64_t alias;
        int s = a->has_serial ? aliases_number(r->aliases, a->serial, &alias) : 0;

        for (size_t i = 0; s >= 0 && i < a->n_disk_serials; i++) {
                const char *serial = a->disk_serials[i]; /* or its WWN, where it has no serial number */
                s = aliases_add(r->aliases, wwn_prefix(serial) >= strlen("0x") ? ALIAS_WWN : ALIAS_SERIAL, serial);
        }
        return s;
}

static int learn_identity(Recorder *r, const Host *h) {
        int s = 0;

        for (size_t i = 0; s >= 0 && i < h->n_disks; i++)
                if ((s = aliases_add(r->aliases, ALIAS_SERIAL, h->disks[i].serial)) >= 0)
                        s = aliases_add(r->aliases, ALIAS_WWN, h->disks[i].wwn);
        /* The host does not see the disks of an assigned controller, but the records tell of them. */
        for (size_t i = 0; s >= 0 && i < h->n_assigned; i++)
                s = learn_assigned(r, &h->assigned[i]);
        return s < 0 ? s : learn_host_names(r);
}

static int learn_properties(Recorder *r, char *text) {
        static const struct {
                const char *key;
                AliasKind kind;
        } known[] = {
                { "E:ID_SCSI_SERIAL=", ALIAS_SERIAL }, { "E:ID_SERIAL_SHORT=", ALIAS_SERIAL }, { "E:ID_WWN=", ALIAS_WWN },
                { "E:ID_WWN_WITH_EXTENSION=", ALIAS_WWN }, { "E:ID_FS_UUID=", ALIAS_UUID }, { "E:ID_PART_TABLE_UUID=", ALIAS_UUID },
        };
        char *save = NULL;
        int s = 0;

        for (char *line = strtok_r(text, "\n", &save); s >= 0 && line; line = strtok_r(NULL, "\n", &save))
                for (size_t i = 0; s >= 0 && i < ELEMENTSOF(known); i++)
                        if (strncmp(line, known[i].key, strlen(known[i].key)) == 0)
                                s = aliases_add(r->aliases, known[i].kind, line + strlen(known[i].key));
        return s;
}

/* Every serial number that a file or udev tells, before the first text is written that may hold one. */
static int learn_path(Recorder *r, const char *path, Treatment treatment) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        if (treatment == TREAT_UUID_LINK)
                return aliases_add(r->aliases, ALIAS_UUID, strrchr(path, '/') + 1);
        if (treatment != TREAT_SERIAL && treatment != TREAT_WWN && treatment != TREAT_PAGE && treatment != TREAT_PROPERTIES)
                return 0;
        if (file_read(r->root, path, &text, &size) < 0)
                return 0;
        if (treatment == TREAT_PROPERTIES)
                return learn_properties(r, text);
        if (treatment == TREAT_PAGE)
                return size < 5 ? 0 : aliases_add(r->aliases, ALIAS_SERIAL, trimmed(text + 4));
        return aliases_add(r->aliases, treatment == TREAT_WWN ? ALIAS_WWN : ALIAS_SERIAL, trimmed(text));
}

int record_host(int root, Host *h, int target, Aliases *a, size_t *ret_files, Error **e) {
        Recorder r = { .root = root, .target = target, .host = h, .aliases = a };
        int s = learn_identity(&r, h);

        for (size_t i = 0; s >= 0 && i < n_record_sources; i++)
                s = for_each_path(&r, &record_sources[i], learn_path);
        for (size_t i = 0; s >= 0 && i < h->n_guests; i++)
                s = record_guest(&r, &h->guests[i]);
        for (size_t i = 0; s >= 0 && i < n_record_sources; i++)
                s = for_each_path(&r, &record_sources[i], record_path);
        if (s >= 0)
                s = record_namespaces(&r);
        if (s >= 0)
                s = record_references(&r);
        _cleanup_json_ json_t *j = s < 0 ? NULL : recording_to_json(h);
        _cleanup_free_ char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
        if (s >= 0)
                s = text ? tree_write_text(&r, RECORDING_FILE, text, strlen(text)) : -ENOMEM;
        free(r.references);
        *ret_files = r.files;
        return s < 0 ? error_set(e, -s, "the recording cannot be written: %s", strerror(-s)) : 0;
}
