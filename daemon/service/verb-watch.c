/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verb that waits for libvirt's events, for as long as libvirt and the daemon are there. */
#include "service/verb.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include "service/guest-events.h"

#define URI "qemu:///system"

/* Nobody listens any more when the daemon is gone. A signal also ends a wait for a libvirtd that never answers. */
static int end_with_daemon(const json_t *request, Error **e) {
        json_int_t daemon = json_integer_value(json_object_get(request, "daemon"));

        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return error_set(e, errno, "the end of the daemon cannot be noticed: %m");
        if ((json_int_t) getppid() != daemon)
                return error_set(e, ESRCH, "the daemon has ended");
        return 0;
}

static void on_event(void *userdata, const char *kind, const char *guest, const char *device) {
        answer_event(userdata, kind, guest, device);
}

static void on_signal(int watch, int fd, int events, void *userdata) {
        struct signalfd_siginfo info;
        bool *asked = userdata;

        (void) watch;
        (void) events;
        *asked = read(fd, &info, sizeof info) == (ssize_t) sizeof info;
}

static int wait_for_signal(bool *asked, Error **e) {
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGUSR1);
        int fd = sigprocmask(SIG_BLOCK, &signals, NULL) < 0 ? -1 : signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0 || virEventAddHandle(fd, VIR_EVENT_HANDLE_READABLE, on_signal, asked, NULL) < 0)
                return error_set(e, errno, "the daemon's signal cannot be waited for: %m");
        return 0;
}

/* {"daemon": its process id}. Never ends but with an error: why there will be no more events. SIGUSR1 asks whether
 * libvirt still answers. */
static int run_watch(const json_t *request, Answer *a, Error **e) {
        GuestEvents *g = NULL;
        bool asked = false;

        int r = end_with_daemon(request, e);
        if (r >= 0)
                r = guest_events_open(URI, on_event, a, &g, e);
        if (r >= 0)
                r = wait_for_signal(&asked, e);
        if (r < 0)
                return r;
        answer_event(a, "connected", NULL, NULL);
        while ((r = guest_events_wait(g, e)) >= 0) {
                if (!asked)
                        continue;
                asked = false;
                r = guest_events_ask(g, e);
                if (r < 0)
                        break;
                answer_event(a, "answers", NULL, NULL);
        }
        /* The process ends now. Closing a connection that hangs would hang. */
        return r;
}

const Verb verb_watch = { .name = "watch", .run = run_watch };
