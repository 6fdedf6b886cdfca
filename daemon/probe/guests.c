/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guests that libvirt knows, running or not. */
#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <time.h>

#include "base/file.h"
#include "probe/guest-files.h"
#include "probe/guest-storage.h"
#include "probe/probe.h"

#define URI "qemu:///system"

static void silent(void *userdata, virErrorPtr error) {
        (void) userdata;
        (void) error;
}

static GuestState state_of(virDomainPtr domain) {
        int state, reason;

        if (virDomainGetState(domain, &state, &reason, 0) < 0)
                return GUEST_OTHER;
        switch (state) {
        case VIR_DOMAIN_SHUTOFF:
                return GUEST_SHUT_OFF;
        case VIR_DOMAIN_CRASHED: /* with on_crash=preserve its QEMU is still there, with everything open */
                return virDomainIsActive(domain) == 0 ? GUEST_SHUT_OFF : GUEST_OTHER;
        case VIR_DOMAIN_RUNNING:
        case VIR_DOMAIN_BLOCKED:
                return GUEST_RUNNING;
        case VIR_DOMAIN_PAUSED:
        case VIR_DOMAIN_PMSUSPENDED:
                return GUEST_PAUSED;
        default:
                return GUEST_OTHER;
        }
}

/* A domain that was undefined since the list was made is gone; after any other error nobody knows what it has. */
static int domain_error(void) {
        return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? -ENOENT : -EIO;
}

static int read_xml(virDomainPtr domain, bool live, Guest *g, Error **e) {
        _cleanup_free_ char *xml = virDomainGetXMLDesc(domain, live ? 0 : VIR_DOMAIN_XML_INACTIVE);

        return xml ? guest_from_xml(xml, live, g, e) : domain_error();
}

/* What the definitions do not say; of this nothing is needed to show the guest. */
static void read_habits(virDomainPtr domain, Guest *g) {
        int autostart;

        if (virDomainGetAutostart(domain, &autostart) >= 0)
                g->autostart = autostart ? TRI_YES : TRI_NO;
        /* Those that were taken of the running guest with its memory. */
        g->memory_snapshots = virDomainSnapshotNum(domain, VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE);
}

/* The storage daemon may be another one than the guests', and not be there. */
static int read_volume(virConnectPtr connection, GuestDrive *d) {
        virStoragePoolPtr pool = virStoragePoolLookupByName(connection, d->pool);
        _cleanup_free_ char *xml = pool ? virStoragePoolGetXMLDesc(pool, 0) : NULL;
        virStorageVolPtr volume = xml && d->volume ? virStorageVolLookupByName(pool, d->volume) : NULL;
        _cleanup_free_ char *path = volume ? virStorageVolGetPath(volume) : NULL;
        int r = 0;

        /* Of a pool that is not active libvirt knows no volumes. */
        if (xml)
                r = drive_add_pool(d, xml, path);
        if (!xml || r == -EINVAL)
                r = drive_no_pool(d, xml ? "it has no pool XML" : virGetLastErrorMessage());
        if (volume)
                (void) virStorageVolFree(volume);
        if (pool)
                (void) virStoragePoolFree(pool);
        return r;
}

static int read_volumes(virDomainPtr domain, Guest *g) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < g->n_drives; i++)
                if (g->drives[i].pool)
                        r = read_volume(virDomainGetConnect(domain), &g->drives[i]);
        return r;
}

static int read_definitions(virDomainPtr domain, bool glance, Guest *g, Error **e) {
        int persistent = virDomainIsPersistent(domain), active = virDomainIsActive(domain), r = 0;

        if (persistent < 0 || active < 0)
                return domain_error();
        g->persistent = persistent;
        g->state = state_of(domain);
        int saved = virDomainHasManagedSaveImage(domain, 0);
        g->managed_save = saved < 0 ? TRI_UNKNOWN : saved ? TRI_YES : TRI_NO;
        if (!glance)
                read_habits(domain, g);
        if (persistent)
                r = read_xml(domain, false, g, e);
        if (r >= 0 && active)
                r = read_xml(domain, true, g, e);
        if (r >= 0 && read_volumes(domain, g) < 0)
                return error_oom(e);
        return r;
}

/* 0 also when the domain is gone. -EIO without an error: libvirt does not tell. */
static int read_domain(Host *h, virDomainPtr domain, bool glance, Error **e) {
        Guest g = GUEST_UNREAD;

        int r = read_definitions(domain, glance, &g, e);
        if (r < 0 || !g.name) {
                guest_clear(&g);
                return r == -ENOENT ? 0 : r;
        }
        return host_add_guest(h, &g) < 0 ? error_oom(e) : 0;
}

static void not_told(Host *h) {
        if (asprintf(&h->guests_problem, "libvirt does not tell about its guests: %s", virGetLastErrorMessage()) < 0)
                h->guests_problem = NULL;
}

static int ask(Host *h, bool glance, Error **e) {
        virDomainPtr *domains = NULL;
        int r = 0;

        virSetErrorFunc(NULL, silent);
        virConnectPtr connection = virConnectOpenReadOnly(URI);
        if (!connection && !file_exists(AT_FDCWD, GUEST_FILES)) {
                h->guests_known = true; /* libvirt was never here, so it has no guests */
                return 0;
        }
        if (!connection) {
                if (asprintf(&h->guests_problem, "libvirt cannot be reached at %s: %s", URI, virGetLastErrorMessage()) < 0)
                        h->guests_problem = NULL;
                return 0;
        }
        int n = virConnectListAllDomains(connection, &domains, 0);
        if (n < 0)
                not_told(h);
        for (int i = 0; i < n; i++) {
                if (r >= 0)
                        r = read_domain(h, domains[i], glance, e);
                if (r == -EIO && !h->guests_problem)
                        not_told(h);
                (void) virDomainFree(domains[i]);
        }
        free(domains);
        (void) virConnectClose(connection);
        h->guests_known = n >= 0 && r >= 0;
        return r == -EIO ? 0 : r;
}

/* libvirt's calls have no deadline: a stopped libvirtd accepts a connection and never answers. */
#define PATIENCE_SEC 45 /* less than what any worker has */
#define PATIENCE_GLANCE_SEC 2

typedef struct Question {
        Host *host;
        bool glance;
        Error *error;
        int r;
} Question;

static void *ask_on_thread(void *userdata) {
        Question *q = userdata;

        q->r = ask(q->host, q->glance, &q->error);
        return NULL;
}

static Question *question_free(Question *q) {
        host_free(q->host);
        error_free(q->error);
        free(q);
        return NULL;
}
DEFINE_CLEANUP(Question *, question_free)

static void take_answer(Host *h, Question *q, Error **e) {
        Host *from = q->host;

        h->guests = TAKE_PTR(from->guests);
        h->n_guests = from->n_guests;
        from->n_guests = 0;
        h->guests_known = from->guests_known;
        h->guests_problem = TAKE_PTR(from->guests_problem);
        if (e && !*e)
                *e = TAKE_PTR(q->error);
}

/* A thread that is still waiting when the time is up stays, with its question, until the process ends, soon. */
static int ask_libvirt(Host *h, bool glance, Error **e) {
        _cleanup_(question_freep) Question *q = calloc(1, sizeof *q);
        unsigned patience = glance ? PATIENCE_GLANCE_SEC : PATIENCE_SEC;
        struct timespec until;
        pthread_t thread;

        if (!q || !(q->host = host_new()))
                return error_oom(e);
        q->glance = glance;
        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += patience;
        int r = pthread_create(&thread, NULL, ask_on_thread, q);
        if (r != 0)
                return error_set(e, r, "libvirt cannot be asked: %s", strerror(r));
        if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
                TAKE_PTR(q);
                (void) pthread_detach(thread);
                if (asprintf(&h->guests_problem, "libvirt has not answered at %s within %u seconds", URI, patience) < 0)
                        return error_oom(e);
                return 0;
        }
        take_answer(h, q, e);
        return q->r;
}

/* Files say which guests a recorded machine had. Of a live machine they are no proof: libvirt knows more, such as guests
 * without a file. */
static int read_guests(Host *h, int root, ProbeFlags flags, Error **e) {
        bool live = flags & PROBE_LIVE, glance = flags & PROBE_GLANCE;
        int r;

        if (flags & PROBE_GUESTS && live && (r = ask_libvirt(h, glance, e)) < 0)
                return r;
        if (live) {
                /* One that cannot be read hides the ones behind it, which is no reason to show nothing at all. */
                r = glance && !h->guests_known ? guests_read_files(h, root, NULL) : 0;
                return r == -ENOMEM ? error_oom(e) : 0;
        }
        h->guests_known = flags & PROBE_GUESTS && file_exists(root, GUEST_FILES);
        return h->guests_known ? guests_read_files(h, root, e) : 0;
}

int probe_guests(Host *h, int root, ProbeFlags flags, Error **e) {
        int r = read_guests(h, root, flags, e);

        if (r < 0)
                return r;
        if (flags & PROBE_GUESTS)
                r = guests_read_sessions(h, root);
        return r < 0 ? error_set(e, -r, "the guests of users cannot be read: %s", strerror(-r)) : 0;
}

int probe_guest_drives(Host *h, int root, Error **e) {
        int r = guests_locate_drives(h, root);

        return r < 0 ? error_set(e, -r, "the guests' disks cannot be matched: %s", strerror(-r)) : 0;
}
