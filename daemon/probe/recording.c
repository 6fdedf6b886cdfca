/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/recording.h"

#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/block-map.h"
#include "probe/probe.h"

/* -- which fields ------------------------------------------------------------------------------------------------------ */

typedef enum FieldType {
        FIELD_BOOL,
        FIELD_TRI,              /* null: unknown */
        FIELD_INT,
        FIELD_STRING,           /* null: NULL */
        FIELD_LINES,            /* a string, in JSON an array of its lines, for people to read */
        FIELD_ENUM,             /* by its name */
} FieldType;

typedef struct Field {
        const char *key;
        FieldType type;
        size_t offset;
        const char *(*name)(unsigned value); /* FIELD_ENUM; NULL ends its values */
} Field;

static const char *state_name(unsigned value) {
        return value < _GUEST_STATE_MAX ? guest_state_to_string(value) : NULL;
}

/* A fact that a probe learns from the live machine alone gets its line in one of these tables. */
static const Field host_fields[] = {
        { "architecture", FIELD_STRING, offsetof(Host, architecture), NULL },
        { "vfio_pci", FIELD_TRI, offsetof(Host, vfio_pci), NULL },
        { "exclusive_tried", FIELD_BOOL, offsetof(Host, exclusive_tried), NULL },
        { "openers_known", FIELD_BOOL, offsetof(Host, openers_known), NULL },
        { "guests_known", FIELD_BOOL, offsetof(Host, guests_known), NULL },
        { "guests_problem", FIELD_STRING, offsetof(Host, guests_problem), NULL },
        {},
};
static const Field disk_fields[] = {
        { "exclusive", FIELD_TRI, offsetof(Disk, exclusive), NULL },
        { "signatures_known", FIELD_BOOL, offsetof(Disk, signatures_known), NULL },
        { "healthy", FIELD_TRI, offsetof(Disk, healthy), NULL },
        { "health", FIELD_STRING, offsetof(Disk, health), NULL },
        {},
};
static const Field signature_fields[] = {
        { "where", FIELD_STRING, offsetof(DiskSignature, where), NULL },
        { "type", FIELD_STRING, offsetof(DiskSignature, type), NULL },
        { "label", FIELD_STRING, offsetof(DiskSignature, label), NULL },
        { "uuid", FIELD_STRING, offsetof(DiskSignature, uuid), NULL },
        {},
};
static const Field guest_fields[] = {
        { "state", FIELD_ENUM, offsetof(Guest, state), state_name },
        { "persistent", FIELD_BOOL, offsetof(Guest, persistent), NULL },
        { "managed_save", FIELD_TRI, offsetof(Guest, managed_save), NULL },
        { "session", FIELD_BOOL, offsetof(Guest, session), NULL },
        { "autostart", FIELD_TRI, offsetof(Guest, autostart), NULL },
        { "memory_snapshots", FIELD_INT, offsetof(Guest, memory_snapshots), NULL },
        { "live_definition", FIELD_LINES, offsetof(Guest, live_definition), NULL },
        {},
};
/* Other guests' files are in the recording. */
static const Field session_fields[] = {
        { "definition", FIELD_LINES, offsetof(Guest, definition), NULL },
        {},
};

/* -- writing ----------------------------------------------------------------------------------------------------------- */

static json_t *lines_to_json(const char *text) {
        json_t *lines = text ? json_array() : json_null();

        while (lines && text && *text) {
                size_t n = strcspn(text, "\n");
                if (json_array_append_new(lines, json_stringn(text, n)) < 0) {
                        json_decref(lines);
                        return NULL;
                }
                text += n + (text[n] == '\n');
        }
        return lines;
}

static json_t *field_to_json(const Field *f, const void *object) {
        const void *value = (const char *) object + f->offset;

        switch (f->type) {
        case FIELD_BOOL:
                return json_boolean(*(const bool *) value);
        case FIELD_TRI:
                return *(const Tri *) value == TRI_UNKNOWN ? json_null() : json_boolean(*(const Tri *) value == TRI_YES);
        case FIELD_INT:
                return json_integer(*(const int *) value);
        case FIELD_STRING:
                return *(char *const *) value ? json_string(*(char *const *) value) : json_null();
        case FIELD_LINES:
                return lines_to_json(*(char *const *) value);
        default:
                return json_string(f->name(*(const unsigned *) value));
        }
}

/* -1 when out of memory. */
static int fields_to_json(const Field *fields, const void *object, json_t *j) {
        int r = j ? 0 : -1;

        for (const Field *f = fields; r == 0 && f->key; f++)
                r = json_object_set_new(j, f->key, field_to_json(f, object));
        return r;
}

static json_t *uses_to_json(const Disk *d) {
        json_t *uses = json_array();

        for (size_t i = 0; uses && i < d->n_uses; i++) {
                const DiskUse *u = &d->uses[i];
                json_t *use = json_pack("{s:s, s:b, s:s}", "kind", disk_use_kind_to_string(u->kind), "boot", u->boot, "chain", u->chain);
                if (json_array_append_new(uses, use) < 0) {
                        json_decref(uses);
                        return NULL;
                }
        }
        return uses;
}

static json_t *signatures_to_json(const Disk *d) {
        json_t *signatures = json_array();

        for (size_t i = 0; signatures && i < d->n_signatures; i++) {
                json_t *signature = json_object();
                if (json_array_append(signatures, signature) < 0 || fields_to_json(signature_fields, &d->signatures[i], signature) < 0) {
                        json_decref(signatures);
                        signatures = NULL;
                }
                json_decref(signature);
        }
        return signatures;
}

static json_t *controller_uses_to_json(const Host *h) {
        json_t *uses = json_array();

        for (size_t i = 0; uses && i < h->n_controller_uses; i++)
                if (json_array_append_new(uses, json_pack("{s:s, s:s}", "controller", PCI_ADDRESS_STR(&h->controller_uses[i].controller),
                                                          "chain", h->controller_uses[i].chain)) < 0) {
                        json_decref(uses);
                        return NULL;
                }
        return uses;
}

static json_t *disks_to_json(const Host *h) {
        json_t *disks = json_array();

        for (size_t i = 0; disks && i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                json_t *disk = json_pack("{s:s, s:s, s:o, s:o}", "name", d->name, "controller", PCI_ADDRESS_STR(&d->controller), "uses",
                                         uses_to_json(d), "signatures", signatures_to_json(d));
                if (json_array_append(disks, disk) < 0 || fields_to_json(disk_fields, d, disk) < 0) {
                        json_decref(disks);
                        disks = NULL;
                }
                json_decref(disk);
        }
        return disks;
}

static json_t *guests_to_json(const Host *h) {
        json_t *guests = json_array();

        for (size_t i = 0; guests && i < h->n_guests; i++) {
                json_t *guest = json_pack("{s:s}", "name", h->guests[i].name);
                if (json_array_append(guests, guest) < 0 || fields_to_json(guest_fields, &h->guests[i], guest) < 0 ||
                    (h->guests[i].session && fields_to_json(session_fields, &h->guests[i], guest) < 0)) {
                        json_decref(guests);
                        guests = NULL;
                }
                json_decref(guest);
        }
        return guests;
}

json_t *recording_to_json(const Host *h) {
        json_t *j = json_pack("{s:i, s:o, s:o, s:o}", "version", RECORDING_VERSION, "disks", disks_to_json(h), "controller_uses",
                              controller_uses_to_json(h), "guests", guests_to_json(h));

        if (j && fields_to_json(host_fields, h, j) < 0) {
                json_decref(j);
                return NULL;
        }
        return j;
}

/* -- reading ----------------------------------------------------------------------------------------------------------- */

static int bad_key(const char *key, Error **e) {
        return error_set(e, EINVAL, "\"%s\" has no usable value", key);
}

static int set_string(char **ret, char *value) {
        if (!value)
                return -ENOMEM;
        free(*ret);
        *ret = value;
        return 0;
}

static int lines_from_json(const json_t *lines, char **ret) {
        _cleanup_free_ char *text = NULL;
        size_t size, i;
        json_t *line;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        json_array_foreach(lines, i, line)
                (void) fprintf(f, "%s\n", json_is_string(line) ? json_string_value(line) : "");
        return fclose(f) == 0 ? set_string(ret, TAKE_PTR(text)) : -ENOMEM;
}

static int enum_from_json(const Field *f, const json_t *j, unsigned *ret) {
        const char *name = json_string_value(j);

        for (unsigned value = 0; name && f->name(value); value++)
                if (str_equal(f->name(value), name)) {
                        *ret = value;
                        return 0;
                }
        return -EINVAL;
}

static int string_from_json(const json_t *j, char **ret) {
        int r = set_string(ret, strdup(json_string_value(j)));

        if (r >= 0)
                text_clean(*ret);
        return r;
}

static int field_from_json(const Field *f, const json_t *j, void *object) {
        void *value = (char *) object + f->offset;

        if (f->type == FIELD_ENUM)
                return enum_from_json(f, j, value);
        if (f->type == FIELD_TRI && json_is_null(j))
                *(Tri *) value = TRI_UNKNOWN;
        else if (f->type == FIELD_TRI && json_is_boolean(j))
                *(Tri *) value = json_is_true(j) ? TRI_YES : TRI_NO;
        else if (f->type == FIELD_BOOL && json_is_boolean(j))
                *(bool *) value = json_is_true(j);
        else if (f->type == FIELD_INT && json_is_integer(j) && json_integer_value(j) >= -1 && json_integer_value(j) <= INT32_MAX)
                *(int *) value = (int) json_integer_value(j);
        else if (f->type == FIELD_STRING && json_is_string(j))
                return string_from_json(j, value);
        else if (f->type == FIELD_LINES && json_is_array(j))
                return lines_from_json(j, value);
        else if ((f->type != FIELD_STRING && f->type != FIELD_LINES) || !json_is_null(j))
                return -EINVAL;
        return 0;
}

static int fields_from_json(const Field *fields, const json_t *j, void *object, Error **e) {
        for (const Field *f = fields; f->key; f++) {
                const json_t *value = json_object_get(j, f->key);
                int r = value ? field_from_json(f, value, object) : 0;
                if (r < 0)
                        return r == -ENOMEM ? error_oom(e) : bad_key(f->key, e);
        }
        return 0;
}

static DiskUseKind use_kind(const char *name) {
        DiskUseKind k = 0;

        while (k < _DISK_USE_MAX && !str_equal(disk_use_kind_to_string(k), name))
                k++;
        return k;
}

/* What the files tell is there already and is not added twice. */
static int read_use(const json_t *j, Disk *d, Error **e) {
        const char *chain = json_string_value(json_object_get(j, "chain"));
        DiskUseKind kind = use_kind(json_string_value(json_object_get(j, "kind")));

        if (!chain || kind == _DISK_USE_MAX)
                return bad_key("uses", e);
        return disk_add_use(d, kind, json_is_true(json_object_get(j, "boot")), "%s", chain) < 0 ? error_oom(e) : 0;
}

static Disk *find_disk(Host *h, const json_t *j) {
        const char *name = json_string_value(json_object_get(j, "name")),
                   *controller = json_string_value(json_object_get(j, "controller"));
        PciAddress a;

        if (!name || !controller || pci_address_parse(controller, &a) < 0)
                return NULL;
        for (size_t i = 0; i < h->n_disks; i++)
                if (str_equal(h->disks[i].name, name) && pci_address_equal(&h->disks[i].controller, &a))
                        return &h->disks[i];
        return NULL;
}

/* These replace what udev had found. */
static int read_signatures(const json_t *list, Disk *d, Error **e) {
        size_t i;
        json_t *item;

        for (i = 0; json_is_array(list) && i < d->n_signatures; i++)
                disk_signature_clear(&d->signatures[i]);
        d->n_signatures = json_is_array(list) ? 0 : d->n_signatures;
        json_array_foreach(list, i, item) {
                DiskSignature s = {};
                int r = fields_from_json(signature_fields, item, &s, e);
                if (r < 0 || !s.where || !s.type) {
                        disk_signature_clear(&s);
                        return r < 0 ? r : bad_key("signatures", e);
                }
                if (disk_add_signature(d, &s) < 0)
                        return error_oom(e);
        }
        return 0;
}

/* Of what is no disk, so only the live machine tells. */
static int read_controller_use(const json_t *j, Host *h, Error **e) {
        const char *controller = json_string_value(json_object_get(j, "controller")), *chain = json_string_value(json_object_get(j, "chain"));
        ControllerUse u;

        if (!controller || !chain || pci_address_parse(controller, &u.controller) < 0)
                return bad_key("controller_uses", e);
        ControllerUse *more = reallocarray(h->controller_uses, h->n_controller_uses + 1, sizeof *more);
        if (!more)
                return error_oom(e);
        h->controller_uses = more;
        if (!(u.chain = strdup(chain)))
                return error_oom(e);
        text_clean(u.chain);
        more[h->n_controller_uses++] = u;
        return 0;
}

static int read_disk(const json_t *j, Host *h, Error **e) {
        Disk *d = find_disk(h, j);
        int r = d ? fields_from_json(disk_fields, j, d, e) : 0;
        size_t i;
        json_t *use;

        if (!d)
                return bad_key("disks", e);
        if (r >= 0)
                r = read_signatures(json_object_get(j, "signatures"), d, e);
        json_array_foreach(json_object_get(j, "uses"), i, use)
                if (r >= 0)
                        r = read_use(use, d, e);
        return r;
}

/* One that has no file in etc/libvirt/qemu, because it is transient, is new. */
static Guest *get_guest(Host *h, const char *name) {
        const Guest *known = host_find_guest(h, name);

        if (known)
                return (Guest *) known;
        Guest *more = reallocarray(h->guests, h->n_guests + 1, sizeof *more);
        if (!more)
                return NULL;
        h->guests = more;
        more[h->n_guests] = GUEST_UNREAD;
        more[h->n_guests].name = strdup(name);
        text_clean(more[h->n_guests].name);
        return more[h->n_guests].name ? &more[h->n_guests++] : NULL;
}

static int read_guest(const json_t *j, Host *h, Error **e) {
        const char *name = json_string_value(json_object_get(j, "name"));

        if (!name || !*name)
                return bad_key("guests", e);
        Guest *g = get_guest(h, name);
        if (!g)
                return error_oom(e);
        int r = fields_from_json(guest_fields, j, g, e);
        if (r >= 0 && g->session && (r = fields_from_json(session_fields, j, g, e)) >= 0 && g->definition)
                r = guest_from_xml(g->definition, false, g, e);
        return r >= 0 && g->live_definition ? guest_from_xml(g->live_definition, true, g, e) : r;
}

static int read_all(const json_t *list, Host *h, int (*read)(const json_t *j, Host *h, Error **e), Error **e) {
        size_t i;
        json_t *item;
        int r = 0;

        json_array_foreach(list, i, item)
                if (r >= 0)
                        r = read(item, h, e);
        return r;
}

int recording_from_json(const json_t *j, Host *h, Error **e) {
        const json_t *version = json_object_get(j, "version");
        int r;

        if (!json_is_integer(version) || json_integer_value(version) != RECORDING_VERSION)
                return error_set_full(e, EPROTONOSUPPORT, "recording-version", "Use the version of passthru that recorded it.",
                                      "only version %d of recordings is known", RECORDING_VERSION);
        if ((r = fields_from_json(host_fields, j, h, e)) < 0 || (r = read_all(json_object_get(j, "disks"), h, read_disk, e)) < 0)
                return r;
        r = read_all(json_object_get(j, "controller_uses"), h, read_controller_use, e);
        return r < 0 ? r : read_all(json_object_get(j, "guests"), h, read_guest, e);
}

int probe_recording(Host *h, int root, Error **e) {
        _cleanup_free_ char *text = NULL;
        json_error_t where;
        size_t size;

        int r = file_read(root, RECORDING_FILE, &text, &size);
        if (r < 0)
                return r == -ENOENT ? 0 : error_set(e, -r, RECORDING_FILE " cannot be read: %s", strerror(-r));
        _cleanup_json_ json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
        if (!j)
                return error_set(e, EINVAL, RECORDING_FILE " is malformed, line %d: %s", where.line, where.text);
        r = recording_from_json(j, h, e);
        if (r < 0 && e)
                error_prefix(*e, RECORDING_FILE);
        return r;
}
