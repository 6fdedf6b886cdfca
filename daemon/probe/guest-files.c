/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guests of a recorded machine, from libvirt's files; of a live one when libvirt does not answer. */
#include "probe/guest-files.h"

#include <errno.h>

#include "base/file.h"
#include "probe/guest-storage.h"
#include "probe/probe.h"
#include "probe/xml.h"

#define STATE "/var/lib/libvirt/qemu"

int host_add_guest(Host *h, Guest *g) {
        Guest *more = reallocarray(h->guests, h->n_guests + 1, sizeof *more);

        if (!more) {
                guest_clear(g);
                return -ENOMEM;
        }
        h->guests = more;
        more[h->n_guests++] = *g;
        return 0;
}

/* Unknown where the folder itself is not there, as in a recording that lacks it. */
static Tri file_known(int root, const char *folder, const char *name, const char *suffix) {
        _cleanup_free_ char *path = NULL;

        if (!file_exists(root, folder) || asprintf(&path, "%s/%s%s", folder, name, suffix) < 0)
                return TRI_UNKNOWN;
        return file_exists(root, path) ? TRI_YES : TRI_NO;
}

/* <domainsnapshot><state>: "shutoff" and "disk-snapshot" have no memory in them (libvirt's format of snapshots). */
static bool has_memory(int root, const char *path) {
        _cleanup_free_ char *text = NULL, *state = NULL;

        if (file_read(root, path, &text, NULL) < 0)
                return false;
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = xml_parse(text, "domainsnapshot");
        state = doc ? xml_text(xml_child(xmlDocGetRootElement(doc), "state")) : NULL;
        return state && !str_equal(state, "shutoff") && !str_equal(state, "disk-snapshot");
}

static int count_memory_snapshots(int root, const char *guest) {
        _cleanup_free_ char *folder = NULL;
        const struct dirent *entry;
        int n = 0, r = 0;

        if (asprintf(&folder, STATE "/snapshot/%s", guest) < 0)
                return -1;
        _cleanup_closedir_ DIR *d = dir_stream(root, folder);
        if (!d)
                return file_exists(root, STATE "/snapshot") ? 0 : -1;
        while ((entry = dir_next(d, &r))) {
                _cleanup_free_ char *path = NULL;
                if (entry->d_name[0] != '.' && asprintf(&path, "%s/%s", folder, entry->d_name) >= 0)
                        n += has_memory(root, path);
        }
        return r < 0 ? -1 : n;
}

static int read_beside(int root, Guest *g) {
        int r = 0;

        /* The name becomes a file's. */
        if (!strchr(g->name, '/')) {
                g->managed_save = file_known(root, STATE "/save", g->name, ".save");
                g->autostart = file_known(root, GUEST_FILES "/autostart", g->name, ".xml");
                g->memory_snapshots = count_memory_snapshots(root, g->name);
        }
        for (size_t i = 0; r >= 0 && i < g->n_drives; i++)
                if (g->drives[i].pool)
                        r = drive_read_pool(&g->drives[i], root);
        return r;
}

static int read_file(Host *h, int root, const char *path, Error **e) {
        Guest g = GUEST_UNREAD;
        _cleanup_free_ char *xml = NULL;

        g.persistent = true;
        if (file_read(root, path, &xml, NULL) < 0)
                return 0;
        int r = guest_from_xml(xml, false, &g, e);
        if (r >= 0 && (r = read_beside(root, &g)) < 0)
                (void) error_oom(e);
        if (r < 0) {
                guest_clear(&g);
                if (e)
                        error_prefix(*e, "%s", path);
                return r;
        }
        return host_add_guest(h, &g) < 0 ? error_oom(e) : 0;
}

int guests_read_files(Host *h, int root, Error **e) {
        _cleanup_closedir_ DIR *d = dir_stream(root, GUEST_FILES);
        const struct dirent *entry;
        int r = 0, listed = 0;

        while (r >= 0 && (entry = dir_next(d, &listed))) {
                _cleanup_free_ char *path = NULL;
                size_t n = strlen(entry->d_name);
                if (n < 5 || !str_equal(entry->d_name + n - 4, ".xml"))
                        continue;
                r = asprintf(&path, GUEST_FILES "/%s", entry->d_name) < 0 ? error_oom(e) : read_file(h, root, path, e);
        }
        return listed < 0 ? error_set(e, -listed, GUEST_FILES " cannot be read: %s", strerror(-listed)) : r;
}
