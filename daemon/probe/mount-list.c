/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is mounted in any namespace, swap, and what fstab, crypttab and the kernel's command line name. */
#include "probe/mount-list.h"

#include <errno.h>
#include <fcntl.h>
#include <libmount.h>

#include "base/file.h"
#include "probe/probe.h"

void mount_list_clear(MountList *l) {
        for (size_t i = 0; i < l->n; i++) {
                free(l->items[i].source);
                free(l->items[i].target);
                free(l->items[i].where);
        }
        free(l->items);
}

static bool is_boot_target(const char *target) {
        static const char *const targets[] = { "/", "/usr", "/var", "/boot", "/boot/efi", "/efi" };

        for (size_t i = 0; target && i < ELEMENTSOF(targets); i++)
                if (str_equal(target, targets[i]))
                        return true;
        return false;
}

static int mount_add(MountList *l, const Mount *m) {
        Mount *more = reallocarray(l->items, l->n + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        l->items = more;
        Mount *new = &more[l->n++];
        *new = *m;
        new->source = m->source ? strdup(m->source) : NULL;
        new->target = m->target ? strdup(m->target) : NULL;
        new->where = m->where ? strdup(m->where) : NULL;
        return (m->source && !new->source) || (m->target && !new->target) || (m->where && !new->where) ? -ENOMEM : 0;
}

static int add_table(MountList *l, const char *text, size_t size, const char *name, const char *where) {
        struct libmnt_table *table = mnt_new_table();
        struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
        struct libmnt_fs *fs;
        int r = table && iter ? 0 : -ENOMEM;
        FILE *f = r == 0 && size > 0 ? fmemopen((char *) text, size, "r") : NULL;

        if (r == 0 && size > 0 && !f)
                r = -ENOMEM;

        if (f && mnt_table_parse_stream(table, f, name) < 0)
                r = -EINVAL;
        while (r == 0 && f && mnt_table_next_fs(table, iter, &fs) == 0) {
                dev_t dev = mnt_fs_get_devno(fs);
                const Mount m = {
                        .source = (char *) mnt_fs_get_srcpath(fs), .target = (char *) mnt_fs_get_target(fs),
                        .where = (char *) where, .major = (unsigned) (dev >> 8 & 0xfff),
                        .minor = (unsigned) ((dev & 0xff) | (dev >> 12 & 0xfff00)),
                        .btrfs = str_equal(mnt_fs_get_fstype(fs), "btrfs"), .zfs = str_equal(mnt_fs_get_fstype(fs), "zfs"),
                        .boot = is_boot_target(mnt_fs_get_target(fs)) && !where,
                };
                r = mount_add(l, &m);
        }
        if (f)
                (void) fclose(f);
        mnt_free_iter(iter);
        mnt_unref_table(table);
        return r;
}

static int add_process(MountList *l, int root, const char *pid, const char *where) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        size_t size;

        if (asprintf(&path, "/proc/%s/mountinfo", pid) < 0)
                return -ENOMEM;
        int r = file_read(root, path, &text, &size);
        /* A process may end while it is looked at; one of another user's namespace is readable to root alone. */
        if (r < 0)
                return r == -ENOMEM ? r : -ENOENT;
        return add_table(l, text, size, path, where);
}

typedef struct Namespaces {
        char **names; /* "mnt:[4026531841]" */
        size_t n;
} Namespaces;

static void namespaces_clear(Namespaces *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->names[i]);
        free(s->names);
}

static bool namespaces_have(const Namespaces *s, const char *name) {
        for (size_t i = 0; i < s->n; i++)
                if (str_equal(s->names[i], name))
                        return true;
        return false;
}

/* Takes the name. */
static int namespaces_add(Namespaces *s, char *name) {
        char **more = reallocarray(s->names, s->n + 1, sizeof *more);

        if (!more) {
                free(name);
                return -ENOMEM;
        }
        s->names = more;
        more[s->n++] = name;
        return 0;
}

/* Only what could be read is done with: when the process has ended meanwhile another one may be in the same namespace. */
static int add_namespace_of(MountList *l, int root, const char *pid, Namespaces *done) {
        _cleanup_free_ char *link = NULL, *name = NULL, *comm_path = NULL, *comm = NULL, *where = NULL;

        if (asprintf(&link, "/proc/%s/ns/mnt", pid) < 0 || asprintf(&comm_path, "/proc/%s/comm", pid) < 0)
                return -ENOMEM;
        if (link_read_name(root, link, &name) < 0 || namespaces_have(done, name))
                return 0;
        (void) attr_read(root, comm_path, &comm);
        if (asprintf(&where, "mount namespace of pid %s %s", pid, comm ? comm : "") < 0)
                return -ENOMEM;
        int r = add_process(l, root, pid, where);
        return r == -ENOENT ? 0 : r < 0 ? r : namespaces_add(done, TAKE_PTR(name));
}

/* One process of each mount namespace but ours. */
static int add_namespaces(MountList *l, int root) {
        _cleanup_closedir_ DIR *d = dir_stream(root, "/proc");
        _cleanup_(namespaces_clear) Namespaces done = {};
        const struct dirent *entry;
        char *own = NULL;
        int r = 0;

        if (link_read_name(root, "/proc/1/ns/mnt", &own) >= 0)
                r = namespaces_add(&done, own);
        while ((entry = dir_next(d, &r)))
                if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
                        r = add_namespace_of(l, root, entry->d_name, &done);
        return r;
}

static int add_swaps(MountList *l, int root) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;

        int r = file_read(root, "/proc/swaps", &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        char *line = strtok_r(text, "\n", &save);
        while ((line = strtok_r(NULL, "\n", &save))) {
                line[strcspn(line, " \t")] = 0;
                const Mount m = { .source = line, .target = (char *) "swap", .swap = true, .boot = true };
                if ((r = mount_add(l, &m)) < 0)
                        return r;
        }
        return 0;
}

static bool has_option(const char *options, const char *wanted) {
        size_t n = strlen(wanted);

        for (const char *s = options; *s; s += strcspn(s, ","), s += *s == ',')
                if (strcspn(s, ",") == n && strncmp(s, wanted, n) == 0)
                        return true;
        return false;
}

/* /etc/fstab has "source target type options", /etc/crypttab "name source key options": either names what the host wants, and
 * without noauto wants at boot. */
static int add_configured(MountList *l, int root, const char *path, unsigned source) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;

        int r = file_read(root, path, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_free_ char *what = NULL, *named = NULL;
                char fields[2][1024], options[1024] = "";
                if (line[strspn(line, " \t")] == '#' || sscanf(line, "%1023s %1023s %*s %1023s", fields[0], fields[1], options) < 2)
                        continue;
                /* fstab(5): a space is \040 there */
                if (asprintf(&what, "%s in %s", fields[!source], path) < 0 || !(named = mnt_unmangle(fields[source])))
                        return -ENOMEM;
                const Mount m = { .source = named, .target = what, .configured = true, .boot = !has_option(options, "noauto") };
                if ((r = mount_add(l, &m)) < 0)
                        return r;
        }
        return 0;
}

static int add_command_line(MountList *l, const char *command_line) {
        _cleanup_free_ char *copy = command_line ? strdup(command_line) : NULL;
        char *save = NULL;

        for (char *word = copy ? strtok_r(copy, " \n", &save) : NULL; word; word = strtok_r(NULL, " \n", &save)) {
                _cleanup_free_ char *what = NULL;
                char *value = strchr(word, '=');
                if (!value || (strncmp(word, "root=", 5) != 0 && strncmp(word, "resume=", 7) != 0))
                        continue;
                if (asprintf(&what, "%s on the kernel's command line", word) < 0)
                        return -ENOMEM;
                const Mount m = { .source = value + 1, .target = what, .configured = true, .boot = true };
                int r = mount_add(l, &m);
                if (r < 0)
                        return r;
        }
        return 0;
}

int mount_list_read(MountList *l, int root, bool live, const char *command_line, bool *known) {
        const char *own = live || file_exists(root, "/proc/1/mountinfo") ? "1" : "self";

        int r = add_process(l, root, own, NULL);
        *known = r >= 0;
        if (r == -ENOENT)
                r = 0;
        if (r >= 0)
                r = add_namespaces(l, root);
        if (r >= 0)
                r = add_swaps(l, root);
        if (r >= 0)
                r = add_configured(l, root, "/etc/fstab", 0);
        if (r >= 0)
                r = add_configured(l, root, "/etc/crypttab", 1);
        return r < 0 ? r : add_command_line(l, command_line);
}
