/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "service/log.h"
#include "service/manager.h"

static void usage(FILE *out) {
        fputs("Usage: passthrud [OPTION]\n"
              "Hands storage controllers to virtual machines. Started by systemd; passthructl talks to it.\n\n"
              "      --worker VERB  answer one request (standard input, JSON) and exit; for the daemon's own use\n"
              "      --help         show this help\n"
              "      --version      show the version\n",
              out);
}

static int daemon_run(sd_event *event, Error **e) {
        _cleanup_(manager_freep) Manager *m = NULL;

        int r = manager_new(event, &m, e);
        if (r < 0)
                return r;
        r = sd_event_loop(event);
        (void) sd_notify(0, "STOPPING=1");
        return r < 0 ? error_set(e, -r, "the event loop failed: %s", strerror(-r)) : r;
}

/* Given, it is not raised by what was freed: the memory of one large message goes back to the system with it. */
#define MMAP_THRESHOLD (128 * 1024)

/* A transaction under way goes on in its worker; the next daemon waits for it. */
static int daemon_prepare(sd_event *event) {
        sigset_t signals;

        (void) mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
        (void) signal(SIGPIPE, SIG_IGN);
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        int r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        return r < 0 ? r : sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
}

static int daemon_main(void) {
        _cleanup_error_ Error *e = NULL;
        sd_event *event = NULL;

        int r = sd_event_default(&event);
        if (r >= 0)
                r = sd_event_set_watchdog(event, 1);
        if (r >= 0)
                r = daemon_prepare(event);
        if (r >= 0)
                r = daemon_run(event, &e);
        sd_event_unref(event);
        if (r >= 0)
                return r;
        if (e && e->remedy)
                log_object(LOG_ERR, NULL, "%s; %s", e->message, e->remedy);
        else
                log_object(LOG_ERR, NULL, "%s", e ? e->message : strerror(-r));
        return 1;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'V' },
                { "worker", required_argument, NULL, 'w' },
                {},
        };
        const char *verb = NULL;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        usage(stdout);
                        return 0;
                case 'V':
                        puts("passthrud " PASSTHRU_VERSION);
                        return 0;
                case 'w':
                        verb = optarg;
                        break;
                default:
                        usage(stderr);
                        return 2;
                }
        if (optind < argc) {
                fprintf(stderr, "passthrud: it takes no argument \"%s\"\n", argv[optind]);
                return 2;
        }
        return verb ? verb_main(verb) : daemon_main();
}
