/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Against libvirt's own test driver, which has one guest, "test", running. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "service/guest-events.h"

#define URI "test:///default"

static char seen[1024];

static void on_event(void *userdata, const char *kind, const char *guest, const char *device) {
        size_t n = strlen(seen);

        assert_ptr_equal(userdata, seen);
        (void) snprintf(seen + n, sizeof seen - n, "%s%s %s%s%s", n ? ", " : "", kind, guest ? guest : "-", device ? " " : "",
                        device ? device : "");
}

static void assert_seen(GuestEvents *g, const char *expected) {
        for (int i = 0; i < 20 && strlen(seen) < strlen(expected); i++)
                assert_int_equal(guest_events_wait(g, NULL), 0);
        assert_string_equal(seen, expected);
        *seen = 0;
}

static void lifecycle_is_told(void **state) {
        static const char xml[] = "<domain type='test'><name>nas</name><memory>1024</memory><os><type>hvm</type></os></domain>";
        _cleanup_(guest_events_closep) GuestEvents *g = NULL;
        Error *e = NULL;

        (void) state;
        assert_int_equal(guest_events_open(URI, on_event, seen, &g, &e), 0);
        /* The same process has the same guests. */
        virConnectPtr connection = virConnectOpen(URI);
        assert_non_null(connection);
        virDomainPtr domain = virDomainDefineXML(connection, xml);
        assert_non_null(domain);
        assert_seen(g, "defined nas");
        assert_int_equal(virDomainCreate(domain), 0);
        assert_seen(g, "started nas");
        assert_int_equal(virDomainSuspend(domain), 0);
        assert_int_equal(virDomainResume(domain), 0);
        assert_seen(g, "suspended nas, resumed nas");
        assert_int_equal(virDomainDestroy(domain), 0);
        assert_seen(g, "stopped nas");
        assert_int_equal(virDomainRename(domain, "store", 0), 0);
        assert_seen(g, "undefined nas, renamed store");
        assert_int_equal(virDomainUndefine(domain), 0);
        assert_seen(g, "undefined store");
        assert_int_equal(guest_events_ask(g, &e), 0);
        (void) virDomainFree(domain);
        (void) virConnectClose(connection);
}

static void no_libvirt_is_named(void **state) {
        static const char uri[] = "qemu+unix:///system?socket=/nonexistent/passthru-test";
        _cleanup_(guest_events_closep) GuestEvents *g = NULL;
        _cleanup_error_ Error *e = NULL;

        (void) state;
        assert_true(guest_events_open(uri, on_event, seen, &g, &e) < 0);
        assert_null(g);
        assert_non_null(strstr(e->message, "libvirt cannot be reached"));
        assert_non_null(strstr(e->message, "/nonexistent/passthru-test"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lifecycle_is_told),
                cmocka_unit_test(no_libvirt_is_named),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
