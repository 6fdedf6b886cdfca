/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every user can have a libvirt of their own, qemu:///session. Its files are the user's: nothing in them is believed but what
 * they claim to use, and nothing that is opened may block.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/guest-files.h"
#include "probe/guest-parse.h"

#define RUN "/run/user"
#define SIZE_MAX_BYTES (1 << 18)
#define NAME_MAX_BYTES 255
#define GUESTS_MAX 256

typedef struct Session {
        Host *host;
        int root;
        const char *user;
        size_t n;
} Session;

/* NULL for what is no regular file (a pipe would be waited for), too large or unreadable. */
static char *read_regular(int root, const char *path) {
        _cleanup_close_ int fd = file_open(root, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > SIZE_MAX_BYTES)
                return NULL;
        char *text = calloc(1, (size_t) st.st_size + 1);
        if (text && read(fd, text, (size_t) st.st_size) < 0)
                text[0] = 0;
        return text;
}

/* The status of a running guest is <domstatus> with the domain in it. */
static xmlNodePtr domain_of(xmlDocPtr status, xmlDocPtr definition) {
        if (status)
                return xml_child(xmlDocGetRootElement(status), "domain");
        return definition ? xmlDocGetRootElement(definition) : NULL;
}

/* For a recording, which has the files of no user. What cannot be printed again stops nothing. */
static void keep_definition(Guest *g, xmlNodePtr domain, bool live) {
        *(live ? &g->live_definition : &g->definition) = xml_print(domain);
}

static int rename_guest(Guest *g, const char *user) {
        char *name;

        if (asprintf(&name, "%s of qemu:///session of %s", g->name, user) < 0)
                return -ENOMEM;
        free(g->name);
        text_clean(g->name = name);
        return 0;
}

static int read_guest(Session *s, const char *path, bool live) {
        _cleanup_free_ char *xml = read_regular(s->root, path);
        _cleanup_(xmlFreeDocp) xmlDocPtr status = xml && live ? xml_parse(xml, "domstatus") : NULL;
        _cleanup_(xmlFreeDocp) xmlDocPtr definition = xml && !live ? xml_parse(xml, "domain") : NULL;
        Guest g = GUEST_UNREAD;

        s->n++;
        g.session = true;
        g.persistent = !live;
        g.state = live ? GUEST_RUNNING : GUEST_SHUT_OFF;
        xmlNodePtr domain = domain_of(status, definition);
        int r = guest_read_domain(domain, live, &g, NULL);
        if (r >= 0 && strlen(g.name) > NAME_MAX_BYTES)
                r = -EINVAL;
        if (r >= 0)
                r = rename_guest(&g, s->user);
        if (r < 0) {
                guest_clear(&g);
                return r == -ENOMEM ? r : 0;
        }
        keep_definition(&g, domain, live);
        return host_add_guest(s->host, &g);
}

static int read_folder(Session *s, const char *folder, bool live) {
        _cleanup_closedir_ DIR *d = dir_stream(s->root, folder);
        const struct dirent *entry;
        int r = 0, listed = 0; /* the folder may be in a FUSE of the user, which fails whenever the user likes */

        while (r >= 0 && s->n < GUESTS_MAX && (entry = dir_next(d, &listed))) {
                _cleanup_free_ char *path = NULL;
                size_t n = strlen(entry->d_name);
                if (n < 5 || !str_equal(entry->d_name + n - 4, ".xml"))
                        continue;
                r = asprintf(&path, "%s/%s", folder, entry->d_name) < 0 ? -ENOMEM : read_guest(s, path, live);
        }
        return r;
}

/* "name:x:1000:1000:Full Name:/home/name:/bin/sh", into the parts of the line; without asking a directory service. */
static bool find_user(char *passwd, const char *uid, char **ret_name, char **ret_home) {
        char *save = NULL;

        for (char *line = strtok_r(passwd, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *fields[7];
                size_t n = 0;
                for (char *field = strsep(&line, ":"); field && n < ELEMENTSOF(fields); field = strsep(&line, ":"))
                        fields[n++] = field;
                if (n < 6 || !str_equal(fields[2], uid))
                        continue;
                *ret_name = fields[0];
                *ret_home = fields[5];
                return true;
        }
        return false;
}

/* Whoever has a session's libvirt running, or had since the login. */
static int read_session(Host *h, int root, const char *uid) {
        _cleanup_free_ char *run = NULL, *definitions = NULL, *passwd = NULL;
        char *name = NULL, *home = NULL;

        if (asprintf(&run, RUN "/%s/libvirt/qemu/run", uid) < 0)
                return -ENOMEM;
        if (!file_exists(root, run))
                return 0;
        bool known = file_read(root, "/etc/passwd", &passwd, NULL) >= 0 && find_user(passwd, uid, &name, &home);
        Session s = { .host = h, .root = root, .user = known ? name : uid };
        int r = read_folder(&s, run, true);
        if (r < 0 || !known)
                return r;
        return asprintf(&definitions, "%s/.config/libvirt/qemu", home) < 0 ? -ENOMEM : read_folder(&s, definitions, false);
}

int guests_read_sessions(Host *h, int root) {
        _cleanup_closedir_ DIR *d = dir_stream(root, RUN);
        const struct dirent *entry;
        int r = 0;

        while ((entry = dir_next(d, &r)))
                if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
                        r = read_session(h, root, entry->d_name);
        return r;
}
