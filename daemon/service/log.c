/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/log.h"

#include <stdarg.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#define FIELDS_MAX 160 /* 64 controllers, 64 accepted checks, and the few single ones */

typedef struct Fields {
        struct iovec items[FIELDS_MAX];
        int n;
} Fields;

static void fields_clear(Fields *f) {
        for (int i = 0; i < f->n; i++)
                free(f->items[i].iov_base);
        f->n = 0;
}

_printf_(2, 3) static void fields_add(Fields *f, const char *format, ...) {
        va_list ap;
        char *text;

        if (f->n == FIELDS_MAX)
                return;
        va_start(ap, format);
        int size = vasprintf(&text, format, ap);
        va_end(ap);
        if (size >= 0)
                f->items[f->n++] = (struct iovec){ .iov_base = text, .iov_len = (size_t) size };
}

static void fields_add_object(Fields *f, const LogObject *o) {
        for (size_t i = 0; i < o->n_controllers; i++)
                fields_add(f, "PASSTHRU_CONTROLLER=%s", PCI_ADDRESS_STR(&o->controllers[i]));
        if (o->guest)
                fields_add(f, "PASSTHRU_GUEST=%s", o->guest);
        for (size_t i = 0; i < json_array_size(o->accept); i++)
                fields_add(f, "PASSTHRU_ACCEPT=%s", json_string_value(json_array_get(o->accept, i)));
        if (json_is_integer(o->uid))
                fields_add(f, "PASSTHRU_UID=%lld", (long long) json_integer_value(o->uid));
}

void log_object(int priority, const LogObject *o, const char *format, ...) {
        _cleanup_(fields_clear) Fields f = {};
        _cleanup_free_ char *message = NULL;
        va_list ap;

        va_start(ap, format);
        int r = vasprintf(&message, format, ap);
        va_end(ap);
        if (r < 0) {
                message = NULL;
                return;
        }
        fields_add(&f, "MESSAGE=%s", message);
        fields_add(&f, "PRIORITY=%d", priority);
        fields_add(&f, "SYSLOG_IDENTIFIER=passthrud");
        if (o)
                fields_add_object(&f, o);
        (void) sd_journal_sendv(f.items, f.n);
        if (!getenv("JOURNAL_STREAM")) /* systemd.exec(5): set when standard error is the journal itself */
                fprintf(stderr, "passthrud: %s\n", message);
}
