/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/macros.h"

#define READY_MSEC 10000

static pid_t agent;

static void agent_stop(void) {
        (void) kill(agent, SIGTERM);
        (void) kill(agent, SIGCONT);
        (void) waitpid(agent, NULL, 0);
}

/* In the child. Standard output is for results: what the agent says goes to standard error. */
_Noreturn static void agent_run(pid_t parent, int notify) {
        char option[32];

        /* However this program ends, nobody is left asking for a password on its terminal. */
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        (void) snprintf(option, sizeof option, "--notify-fd=%d", notify);
        if (getppid() == parent && fcntl(notify, F_SETFD, 0) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
                (void) execlp("pkttyagent", "pkttyagent", option, "--fallback", (char *) NULL);
        _exit(EXIT_FAILURE);
}

void agent_start(void) {
        _cleanup_close_ int ready = -1, notify = -1;
        pid_t self = getpid();
        int fds[2];

        if (agent > 0 || pipe2(fds, O_CLOEXEC) < 0)
                return;
        ready = fds[0];
        notify = fds[1];
        agent = fork();
        if (agent == 0)
                agent_run(self, notify);
        if (agent < 0)
                return;
        (void) atexit(agent_stop);
        /* It closes its end when it is registered with polkit, or by ending. */
        closep(&notify);
        notify = -1;
        (void) poll(&(struct pollfd){ .fd = ready, .events = POLLIN }, 1, READY_MSEC);
}
