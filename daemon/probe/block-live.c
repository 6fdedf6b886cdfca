/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only the disks themselves tell: whether somebody claims them, and what is written on them. bd_may_claim (block/bdev.c)
 * answers EBUSY to an exclusive open of a disk when it or any of its partitions is claimed, whoever by.
 */
#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/block-map.h"
#include "probe/probe.h"

/* A disk has its partition table and file system; more are left-overs that libblkid finds one behind the other. */
#define SIGNATURES_MAX 8
/* mkfs, parted and another run of these probes claim a disk for a moment. */
#define CLAIM_TRIES 10
#define CLAIM_PAUSE_MS 100

typedef struct blkid_struct_probe BlkidProbe;
DEFINE_CLEANUP(BlkidProbe *, blkid_free_probe)

bool probe_scope_has(const ProbeScope *s, const PciAddress *a) {
        for (size_t i = 0; i < s->n; i++)
                if (pci_address_equal(&s->addresses[i], a))
                        return true;
        return s->n == 0;
}

static int open_node(int root, const char *name, int flags) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "/dev/%s", name) < 0)
                return -ENOMEM;
        /* cciss!c0d0 is /dev/cciss/c0d0 */
        for (char *p = path; *p; p++)
                if (*p == '!')
                        *p = '/';
        return file_open(root, path, O_RDONLY | O_NONBLOCK | flags);
}

static Tri open_exclusively(int root, const char *name) {
        _cleanup_close_ int fd = open_node(root, name, O_EXCL);

        if (fd >= 0 || fd == -ENOMEDIUM)
                return TRI_YES;
        return fd == -EBUSY ? TRI_NO : TRI_UNKNOWN;
}

/* -- signatures -------------------------------------------------------------------------------------------------------- */

static char *value_of(BlkidProbe *probe, const char *name) {
        const char *value = NULL;
        char *copy;

        if (blkid_probe_lookup_value(probe, name, &value, NULL) < 0 || !value || !*value)
                return NULL;
        text_clean(copy = strdup(value));
        return copy;
}

static int add_found(Disk *d, const char *where, BlkidProbe *probe) {
        DiskSignature s = { .type = value_of(probe, "TYPE") };

        if (s.type) {
                s.label = value_of(probe, "LABEL");
                s.uuid = value_of(probe, "UUID");
        } else {
                s.type = value_of(probe, "PTTYPE");
                s.uuid = value_of(probe, "PTUUID");
        }
        s.where = strdup(where);
        if (s.type)
                return disk_add_signature(d, &s);
        disk_signature_clear(&s);
        return 0;
}

/* 1 when the node could be read. */
static int read_node(Disk *d, int root, const char *name, bool whole) {
        _cleanup_close_ int fd = open_node(root, name, 0);
        _cleanup_(blkid_free_probep) BlkidProbe *probe = blkid_new_probe();
        int found = 0, r = 0;

        if (!probe)
                return -ENOMEM;
        if (fd == -ENOMEDIUM)
                return 1;
        if (fd < 0 || blkid_probe_set_device(probe, fd, 0, 0) < 0)
                return 0;
        (void) blkid_probe_enable_superblocks(probe, 1);
        (void) blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID);
        (void) blkid_probe_enable_partitions(probe, whole);
        for (int i = 0; r >= 0 && i < SIGNATURES_MAX && (found = blkid_do_probe(probe)) == 0; i++)
                r = add_found(d, name, probe);
        return r < 0 ? r : found >= 0;
}

static void forget_signatures(Disk *d) {
        for (size_t i = 0; i < d->n_signatures; i++)
                disk_signature_clear(&d->signatures[i]);
        d->n_signatures = 0;
}

/* What udev had found is replaced: it may be older. */
static int read_signatures(Disk *d, int root, const BlockMap *m) {
        int r = 1;

        forget_signatures(d);
        d->signatures_known = true;
        for (size_t i = 0; r >= 0 && i < m->n; i++) {
                bool whole = str_equal(m->nodes[i].name, d->name);
                if (!whole && !str_equal(m->nodes[i].whole, d->name))
                        continue;
                r = read_node(d, root, m->nodes[i].name, whole);
                d->signatures_known &= r > 0;
        }
        return r;
}

/* -- waking them ------------------------------------------------------------------------------------------------------- */

typedef struct Wake {
        pthread_t thread;
        int fd;
} Wake;

static void *read_a_block(void *userdata) {
        const Wake *w = userdata;
        char block[512];

        (void) posix_fadvise(w->fd, 0, 1 << 16, POSIX_FADV_DONTNEED); /* a cached page (64 KiB at most) would wake nothing */
        (void) !pread(w->fd, block, sizeof block, 0);
        return NULL;
}

/* A disk that sleeps takes ten seconds to answer, and each has them for itself unless all are read at once. On threads, as even
 * the request may wait (blk_queue_enter, block/blk-core.c, for one that the kernel itself put to sleep). Where that does not work
 * they are woken one after another. */
static void wake_disks(const Host *h, int root, const ProbeScope *s) {
        Wake *wakes = calloc(h->n_disks + 1, sizeof *wakes);
        size_t n = 0;

        for (size_t i = 0; wakes && i < h->n_disks; i++) {
                Wake *w = &wakes[n];
                if (!probe_scope_has(s, &h->disks[i].controller) || (w->fd = open_node(root, h->disks[i].name, 0)) < 0)
                        continue;
                if (pthread_create(&w->thread, NULL, read_a_block, w) == 0)
                        n++;
                else
                        (void) close(w->fd);
        }
        for (size_t i = 0; i < n; i++) {
                (void) pthread_join(wakes[i].thread, NULL);
                (void) close(wakes[i].fd);
        }
        free(wakes);
}

int probe_disks(Host *h, int root, const ProbeScope *s, Error **e) {
        _cleanup_(block_map_clear) BlockMap m = {};

        h->exclusive_tried = true;
        wake_disks(h, root, s);
        int r = block_map_read(root, &m);
        for (size_t i = 0; r >= 0 && i < h->n_disks; i++) {
                if (!probe_scope_has(s, &h->disks[i].controller))
                        continue;
                h->disks[i].exclusive = open_exclusively(root, h->disks[i].name);
                r = read_signatures(&h->disks[i], root, &m);
        }
        return r < 0 ? error_set(e, -r, "the disks cannot be asked: %s", strerror(-r)) : 0;
}

/* -- claims that nothing explains -------------------------------------------------------------------------------------- */

/* A process that has the disk open need not be the one that claims it. */
static bool is_explained(const Disk *d) {
        for (size_t i = 0; i < d->n_uses; i++)
                if (d->uses[i].kind != DISK_USE_CONFIGURED && d->uses[i].kind != DISK_USE_GUEST &&
                    d->uses[i].kind != DISK_USE_PROCESS && d->uses[i].kind != DISK_USE_LOOP)
                        return true;
        return false;
}

static bool is_unexplained(const Disk *d) {
        return d->exclusive == TRI_NO && !is_explained(d);
}

static bool any_unexplained(const Host *h) {
        for (size_t i = 0; i < h->n_disks; i++)
                if (is_unexplained(&h->disks[i]))
                        return true;
        return false;
}

/* All of them after each pause: however many there are it takes a second. */
static void try_again(Host *h, int root) {
        for (int i = 0; i < CLAIM_TRIES && any_unexplained(h); i++) {
                (void) poll(NULL, 0, CLAIM_PAUSE_MS);
                for (size_t j = 0; j < h->n_disks; j++)
                        if (is_unexplained(&h->disks[j]))
                                h->disks[j].exclusive = open_exclusively(root, h->disks[j].name);
        }
}

/* ZFS in the kernel leaves nothing in sysfs, and zfs-fuse not even a name in /proc. */
static int name_claim(Disk *d) {
        for (size_t i = 0; i < d->n_signatures; i++) {
                const DiskSignature *s = &d->signatures[i];
                if (str_equal(s->type, "zfs_member"))
                        return disk_add_use(d, DISK_USE_ZFS, false, "%s → ZFS pool %s", s->where, s->label ? s->label : "");
        }
        return disk_add_use(d, DISK_USE_EXCLUSIVE, false, "%s → opened exclusively", d->name);
}

int probe_disks_explain(Host *h, int root) {
        int r = 0;

        try_again(h, root);
        for (size_t i = 0; r >= 0 && i < h->n_disks; i++)
                if (is_unexplained(&h->disks[i]))
                        r = name_claim(&h->disks[i]);
        return r;
}
