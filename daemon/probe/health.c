/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How healthy the disks are by their own judgement, as smartctl tells; -n standby leaves a sleeping one asleep. The output and
 * the exit status are described in smartctl(8).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/text.h"
#include "probe/health.h"
#include "probe/probe.h"

#define OUTPUT_MAX 65536
/* For all disks together: with what libvirt may take, less than what a worker has. */
#define PATIENCE_MS 12000
#define TOGETHER 8

/* Chosen here, for --nocheck: the bits of a command line that smartctl does not know and of a disk that it cannot open, which
 * do not come together. */
#define STATUS_ASLEEP 3

static int _printf_(3, 4) describe(Disk *d, Tri healthy, const char *format, ...) {
        char *text = NULL;
        va_list ap;

        va_start(ap, format);
        int r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        text_clean(text);
        free(d->health);
        d->health = text;
        d->healthy = healthy;
        return 0;
}

int health_from_json(Disk *d, const char *text, size_t size, int status) {
        _cleanup_json_ json_t *j = json_loadb(text, size, 0, NULL);
        const json_t *passed = json_object_get(json_object_get(j, "smart_status"), "passed");

        if (json_is_true(passed))
                return describe(d, TRI_YES, "its SMART status is good");
        if (json_is_false(passed))
                return describe(d, TRI_NO, "its SMART status says that it is failing");
        if (status == STATUS_ASLEEP)
                return describe(d, TRI_UNKNOWN, "it is asleep and was not woken");
        return describe(d, TRI_UNKNOWN, "smartctl tells no SMART status of it");
}

/* What the child writes until it ends or the time is up. */
static size_t read_output(int fd, char *buffer, size_t size, long end) {
        size_t n = 0;

        while (n < size) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                long left = end - monotonic_ms();
                if (left <= 0 || poll(&p, 1, (int) left) <= 0)
                        break;
                ssize_t r = read(fd, buffer + n, size - n);
                if (r <= 0)
                        break;
                n += (size_t) r;
        }
        return n;
}

static int spawn_smartctl(const char *node, int out, pid_t *ret) {
        const char *arguments[] = { "smartctl", "--json=c", "--health", "--nocheck=standby,3", node, NULL };
        char *environment[] = { (char *) "LC_ALL=C", NULL };
        posix_spawn_file_actions_t actions;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        (void) posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        (void) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        (void) posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        int r = posix_spawnp(ret, arguments[0], &actions, NULL, (char **) arguments, environment);
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}

typedef struct Child {
        Disk *disk;
        pid_t pid; /* 0: none */
        int fd;    /* its standard output */
} Child;

/* What prevents it is told as the disk's health. */
static int start(Disk *d, Child *ret) {
        _cleanup_close_ int from = -1, to = -1;
        _cleanup_free_ char *node = NULL;
        int fds[2];

        *ret = (Child){ .disk = d, .fd = -1 };
        if (asprintf(&node, "/dev/%s", d->name) < 0)
                return -ENOMEM;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return describe(d, TRI_UNKNOWN, "smartctl cannot be started: %s", strerror(errno));
        from = fds[0];
        to = fds[1];
        int r = spawn_smartctl(node, to, &ret->pid);
        if (r < 0) {
                ret->pid = 0;
                return r == -ENOENT ? describe(d, TRI_UNKNOWN, "smartctl is not installed (package smartmontools)")
                                    : describe(d, TRI_UNKNOWN, "smartctl cannot be started: %s", strerror(-r));
        }
        ret->fd = TAKE_FD(from);
        return 0;
}

/* A child whose disk does not answer cannot even be killed; it is left to the end of this process. */
static int end_child(const Child *c, bool in_time) {
        int status = 0;

        if (!in_time)
                (void) kill(c->pid, SIGKILL);
        pid_t ended = waitpid(c->pid, &status, in_time ? 0 : WNOHANG);
        return ended == c->pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int finish(Child *c, long end) {
        _cleanup_free_ char *output = malloc(OUTPUT_MAX);
        size_t size = output ? read_output(c->fd, output, OUTPUT_MAX, end) : 0;
        bool in_time = output && size < OUTPUT_MAX && monotonic_ms() < end;

        closep(&c->fd);
        int status = end_child(c, in_time);
        if (!output)
                return -ENOMEM;
        return in_time ? health_from_json(c->disk, output, size, status)
                       : describe(c->disk, TRI_UNKNOWN, "smartctl has not answered in time");
}

static int finish_all(Child *children, size_t *n, long end) {
        int r = 0;

        for (size_t i = 0; i < *n; i++) {
                int finished = finish(&children[i], end);
                r = r < 0 ? r : finished;
        }
        *n = 0;
        return r;
}

int probe_health(Host *h, const ProbeScope *s, Error **e) {
        long end = monotonic_ms() + PATIENCE_MS;
        Child children[TOGETHER];
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < h->n_disks; i++) {
                if (!probe_scope_has(s, &h->disks[i].controller))
                        continue;
                if (n == TOGETHER)
                        r = finish_all(children, &n, end);
                if (r >= 0 && monotonic_ms() >= end)
                        r = describe(&h->disks[i], TRI_UNKNOWN, "the disks before it took too long");
                else if (r >= 0) {
                        r = start(&h->disks[i], &children[n]);
                        n += children[n].pid > 0;
                }
        }
        int finished = finish_all(children, &n, end);
        return r < 0 || finished < 0 ? error_oom(e) : 0;
}
