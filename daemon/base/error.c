/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>

#include "base/text.h"

Error *error_free(Error *e) {
        if (!e)
                return NULL;
        free(e->name);
        free(e->message);
        free(e->remedy);
        free(e);
        return NULL;
}

_printf_(5, 0) static int error_setv(Error **e, int code, const char *name, const char *remedy, const char *format, va_list ap) {
        int saved = errno;

        if (code < 0)
                code = -code;
        if (code == 0)
                code = EIO;
        if (e && !*e) {
                Error *n = calloc(1, sizeof *n);
                if (n) {
                        n->code = code;
                        n->name = name ? strdup(name) : NULL;
                        n->remedy = remedy ? strdup(remedy) : NULL;
                        if (vasprintf(&n->message, format, ap) < 0)
                                n->message = NULL;
                        text_clean(n->message);
                        *e = n;
                }
        }
        errno = saved;
        return -code;
}

int error_set(Error **e, int code, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        int r = error_setv(e, code, NULL, NULL, format, ap);
        va_end(ap);
        return r;
}

int error_set_full(Error **e, int code, const char *name, const char *remedy, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        int r = error_setv(e, code, name, remedy, format, ap);
        va_end(ap);
        return r;
}

void error_prefix(Error *e, const char *format, ...) {
        _cleanup_free_ char *prefix = NULL;
        char *joined;
        va_list ap;

        if (!e)
                return;
        va_start(ap, format);
        int r = vasprintf(&prefix, format, ap);
        va_end(ap);
        if (r < 0 || asprintf(&joined, "%s: %s", prefix, e->message ? e->message : strerror(e->code)) < 0)
                return;
        free(e->message);
        e->message = joined;
}

int error_oom(Error **e) {
        return error_set(e, ENOMEM, "out of memory");
}

json_t *error_to_json(const Error *e) {
        return json_pack("{s:i, s:s?, s:s, s:s?}", "code", e->code, "name", e->name, "message",
                         e->message ? e->message : strerror(e->code), "remedy", e->remedy);
}

int error_from_json(const json_t *j, Error **e) {
        const char *message = json_string_value(json_object_get(j, "message"));
        json_int_t code = json_integer_value(json_object_get(j, "code"));

        if (!message || code <= 0 || code > 4095)
                return error_set(e, EPROTO, "an error arrived that cannot be read");
        return error_set_full(e, (int) code, json_string_value(json_object_get(j, "name")),
                              json_string_value(json_object_get(j, "remedy")), "%s", message);
}
