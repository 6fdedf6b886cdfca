/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/guest-events.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* A libvirtd that hangs is given up 5 * (3 + 1) seconds later. Its guests are asked for with a deadline meanwhile. */
#define KEEPALIVE_SEC 5
#define KEEPALIVE_COUNT 3

struct GuestEvents {
        virConnectPtr connection;
        GuestEventHandler handler;
        void *userdata;
        const char *closed; /* why, in words; NULL while it is open */
};

static void silent(void *userdata, virErrorPtr error) {
        (void) userdata;
        (void) error;
}

static void tell(const GuestEvents *g, virDomainPtr domain, const char *kind, const char *device) {
        g->handler(g->userdata, kind, virDomainGetName(domain), device);
}

/* QEMU that is killed or aborts is "failed" to libvirt; "crashed" is a guest that says so itself. */
static const char *lifecycle_kind(int event, int detail) {
        static const char *const kinds[] = {
                [VIR_DOMAIN_EVENT_DEFINED] = "defined",     [VIR_DOMAIN_EVENT_UNDEFINED] = "undefined",
                [VIR_DOMAIN_EVENT_STARTED] = "started",     [VIR_DOMAIN_EVENT_SUSPENDED] = "suspended",
                [VIR_DOMAIN_EVENT_RESUMED] = "resumed",     [VIR_DOMAIN_EVENT_STOPPED] = "stopped",
                [VIR_DOMAIN_EVENT_SHUTDOWN] = "shut-down",  [VIR_DOMAIN_EVENT_PMSUSPENDED] = "suspended",
                [VIR_DOMAIN_EVENT_CRASHED] = "crashed",
        };

        if (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED)
                return "crashed";
        if (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_FAILED)
                return "failed";
        if (event == VIR_DOMAIN_EVENT_DEFINED && detail == VIR_DOMAIN_EVENT_DEFINED_RENAMED)
                return "renamed";
        return event >= 0 && (size_t) event < ELEMENTSOF(kinds) ? kinds[event] : "changed";
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *userdata) {
        (void) connection;
        tell(userdata, domain, lifecycle_kind(event, detail), NULL);
        return 0;
}

static void on_device_added(virConnectPtr connection, virDomainPtr domain, const char *alias, void *userdata) {
        (void) connection;
        tell(userdata, domain, "device-added", alias);
}

static void on_device_removed(virConnectPtr connection, virDomainPtr domain, const char *alias, void *userdata) {
        (void) connection;
        tell(userdata, domain, "device-removed", alias);
}

static void on_removal_failed(virConnectPtr connection, virDomainPtr domain, const char *alias, void *userdata) {
        (void) connection;
        tell(userdata, domain, "device-removal-failed", alias);
}

static void on_close(virConnectPtr connection, int reason, void *userdata) {
        GuestEvents *g = userdata;

        (void) connection;
        g->closed = reason == VIR_CONNECT_CLOSE_REASON_KEEPALIVE ? "it does not answer any more" : "it has ended";
}

/* libvirt's test driver has neither devices nor a connection that could break. */
static bool succeeded(int r) {
        return r >= 0 || virGetLastErrorCode() == VIR_ERR_NO_SUPPORT;
}

static bool subscribe(GuestEvents *g, int id, virConnectDomainEventGenericCallback callback) {
        return succeeded(virConnectDomainEventRegisterAny(g->connection, NULL, id, callback, g, NULL));
}

static bool subscribe_all(GuestEvents *g) {
        return succeeded(virConnectRegisterCloseCallback(g->connection, on_close, g, NULL)) &&
               succeeded(virConnectSetKeepAlive(g->connection, KEEPALIVE_SEC, KEEPALIVE_COUNT)) &&
               subscribe(g, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)) &&
               subscribe(g, VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device_added)) &&
               subscribe(g, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device_removed)) &&
               subscribe(g, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed));
}

int guest_events_open(const char *uri, GuestEventHandler handler, void *userdata, GuestEvents **ret, Error **e) {
        _cleanup_(guest_events_closep) GuestEvents *g = calloc(1, sizeof *g);

        if (!g)
                return error_oom(e);
        *g = (GuestEvents){ .handler = handler, .userdata = userdata };
        virSetErrorFunc(NULL, silent);
        if (virEventRegisterDefaultImpl() < 0)
                return error_set(e, EIO, "libvirt's event loop cannot be made: %s", virGetLastErrorMessage());
        g->connection = virConnectOpenReadOnly(uri);
        if (!g->connection)
                return error_set(e, ECONNREFUSED, "libvirt cannot be reached at %s: %s", uri, virGetLastErrorMessage());
        if (!subscribe_all(g))
                return error_set(e, EIO, "libvirt's events cannot be received at %s: %s", uri,
                                 virGetLastErrorMessage());
        *ret = TAKE_PTR(g);
        return 0;
}

int guest_events_wait(GuestEvents *g, Error **e) {
        if (!g->closed && virEventRunDefaultImpl() < 0)
                return error_set(e, EIO, "libvirt's event loop failed: %s", virGetLastErrorMessage());
        if (g->closed)
                return error_set(e, ECONNRESET, "the connection to libvirt is closed: %s", g->closed);
        return 0;
}

int guest_events_ask(GuestEvents *g, Error **e) {
        unsigned long version;

        if (virConnectGetLibVersion(g->connection, &version) < 0)
                return error_set(e, EIO, "libvirt does not answer: %s", virGetLastErrorMessage());
        return 0;
}

GuestEvents *guest_events_close(GuestEvents *g) {
        if (!g)
                return NULL;
        if (g->connection)
                (void) virConnectClose(g->connection);
        free(g);
        return NULL;
}
