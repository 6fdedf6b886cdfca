/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks the agents of running guests what they do with their disks. Only guests that run with an assigned controller in question. */
#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <poll.h>

#include "probe/agent-parse.h"
#include "probe/probe.h"

#define URI "qemu:///system"
#define AGENT_SECONDS 5
#define EXEC_TRIES 50
#define EXEC_PAUSE_MS 100

/* Swap areas, then the pools. 127: the kernel has no ZFS, so there is no pool; any other failure is no answer. */
#define ZPOOL_SCRIPT "while read a b; do case $a in /dev/*) echo swap: $a;; esac; done < /proc/swaps 2>/dev/null; " \
                     "[ -e /dev/zfs ] || [ -d /sys/module/zfs ] || exit 127; " \
                     "PATH=$PATH:/sbin:/usr/sbin:/usr/local/sbin; command -v zpool >/dev/null || exit 3; exec zpool status -LP"
#define ZPOOL "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/bin/sh\",\"arg\":[\"-c\",\"" ZPOOL_SCRIPT "\"]," \
              "\"capture-output\":true}}"

/* 0 and the answer, or -EIO and libvirt's message. */
static int ask(virDomainPtr domain, const char *command, char **ret, Error **e) {
        *ret = virDomainQemuAgentCommand(domain, command, AGENT_SECONDS, 0);

        return *ret ? 0 : error_set(e, EIO, "its agent does not answer: %s", virGetLastErrorMessage());
}

/* Waits for the process that guest-exec started. */
static int wait_for_exit(virDomainPtr domain, long long pid, int *ret_status, char **ret_output, Error **e) {
        _cleanup_free_ char *command = NULL;

        if (asprintf(&command, "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":%lld}}", pid) < 0)
                return error_oom(e);
        for (int i = 0; i < EXEC_TRIES; i++) {
                _cleanup_free_ char *reply = NULL;
                int r = ask(domain, command, &reply, e);
                if (r < 0 || (r = agent_parse_exit(reply, ret_status, ret_output, e)) != 0)
                        return r < 0 ? r : 0;
                (void) poll(NULL, 0, EXEC_PAUSE_MS);
        }
        return error_set(e, ETIMEDOUT, "zpool in the guest does not end");
}

static int ask_pools(virDomainPtr domain, const AgentDisks *d, Guest *g, Error **e) {
        _cleanup_free_ char *reply = virDomainQemuAgentCommand(domain, ZPOOL, AGENT_SECONDS, 0), *output = NULL;
        long long pid = 0;
        int status = 0, r;

        if (!reply)
                return guest_add_use(g, NULL, "its agent does not tell whether ZFS pools are imported: %s", virGetLastErrorMessage());
        if ((r = agent_parse_pid(reply, &pid, e)) < 0 || (r = wait_for_exit(domain, pid, &status, &output, e)) < 0)
                return r;
        if (status != 0 && status != 127)
                return guest_add_use(g, NULL, "its ZFS pools cannot be read (status %d)", status);
        return agent_parse_pools(output, d, g, e);
}

static int ask_all(virDomainPtr domain, Guest *g, Error **e) {
        _cleanup_(agent_disks_clear) AgentDisks disks = {};
        _cleanup_free_ char *reply = NULL, *filesystems = NULL;
        int r;

        if ((r = ask(domain, "{\"execute\":\"guest-get-disks\"}", &reply, e)) < 0 ||
            (r = agent_parse_disks(reply, &disks, g, e)) < 0 ||
            (r = ask(domain, "{\"execute\":\"guest-get-fsinfo\"}", &filesystems, e)) < 0 ||
            (r = agent_parse_filesystems(filesystems, g, e)) < 0)
                return r;
        return ask_pools(domain, &disks, g, e);
}

static void ask_guest(virConnectPtr connection, Guest *g) {
        virDomainPtr domain = virDomainLookupByName(connection, g->name);
        _cleanup_error_ Error *e = NULL;

        int r = domain ? ask_all(domain, g, &e) : error_set(&e, ENOENT, "it is gone");
        g->agent = r < 0 ? TRI_NO : TRI_YES;
        if (r < 0)
                g->agent_problem = strdup(e && e->message ? e->message : strerror(-r));
        if (domain)
                (void) virDomainFree(domain);
}

static bool is_asked(const Host *h, const ProbeScope *s, const Guest *g) {
        for (size_t i = 0; g->state == GUEST_RUNNING && i < g->n_devices; i++)
                if (g->devices[i].in_live && host_find_assigned(h, &g->devices[i].address) && probe_scope_has(s, &g->devices[i].address))
                        return true;
        return false;
}

void probe_agents(Host *h, const ProbeScope *s) {
        virConnectPtr connection = NULL;

        for (size_t i = 0; i < h->n_guests; i++) {
                if (!is_asked(h, s, &h->guests[i]))
                        continue;
                /* Commands of the agent are not for read-only connections. */
                if (!connection && !(connection = virConnectOpen(URI)))
                        return;
                ask_guest(connection, &h->guests[i]);
        }
        if (connection)
                (void) virConnectClose(connection);
}
