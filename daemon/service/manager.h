/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "model/pci-address.h"
#include "service/worker.h"

/* The daemon's whole state. It knows the host only through what workers have reported. */

#define BUS_NAME "org.passthru1"
#define BUS_PATH "/org/passthru1"
#define BUS_MANAGER BUS_NAME ".Manager"
#define BUS_CONTROLLER BUS_NAME ".Controller"
#define BUS_JOB BUS_NAME ".Job"

/* Calls and jobs in flight together; each is a process. Anyone may be allowed to ask, so one user gets a part of them
 * only, and all users but root leave some to root. */
#define WORKERS_MAX 64
#define WORKERS_FOR_ROOT 16
#define WORKERS_PER_USER 16

typedef enum ManagerState {
        MANAGER_RECOVERING, /* nothing may change until the last transaction is finished or undone */
        MANAGER_HUNG, /* the recovery is past its deadline and goes on */
        MANAGER_READY,
        MANAGER_FAILED, /* the recovery ended without success; changes are refused by the journal as long as it must */
        _MANAGER_STATE_MAX,
} ManagerState;

typedef struct Call Call;
typedef struct Check Check;
typedef struct Controller Controller;
typedef struct Events Events;
typedef struct Job Job;

typedef struct Manager {
        sd_event *event;
        sd_bus *bus;
        Events *events;
        sd_event_source *opening; /* until calls are answered */
        sd_event_source *ending;
        WorkerSet workers;
        ManagerState state;
        char *state_text; /* what the recovery does or did, for people; NULL when there is nothing to say */
        json_t *list; /* the last answer of `list`, or NULL */
        bool refreshing, refresh_again;
        Controller *controllers;
        size_t n_controllers;
        Call *calls; /* method calls that wait for their worker */
        Job *jobs;
        uint64_t last_job;
        Check *checks; /* method calls that wait for polkit */
        uint64_t last_check;
} Manager;

int manager_new(sd_event *event, Manager **ret, Error **e);
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager *, manager_free)

const char *manager_state_to_string(ManagerState s);

/* Undoes what an earlier transaction left open. Changes are refused meanwhile. */
void manager_recover(Manager *m);
/* Reads the controllers again; several requests at once become one. */
void manager_refresh(Manager *m);
/* Makes the objects on the bus agree with the last list and the jobs. */
void manager_sync(Manager *m);
/* The same after a fresh answer of `list`, of which a copy is kept. */
void manager_set_list(Manager *m, const json_t *list);
/* Shows in an answer of `list` or `status` what only the daemon knows: the controllers of running and hung jobs. */
void manager_overlay_list(const Manager *m, json_t *list);
void manager_overlay_status(const Manager *m, json_t *status);

/* 0 when a change of the host may begin now, else the reason: "recovering", "busy". */
int manager_check_change(const Manager *m, Error **e);
/* 0 when one more call or job of that user fits: "too-many". */
int manager_check_room(const Manager *m, uid_t uid, Error **e);
