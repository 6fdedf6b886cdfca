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
typedef struct Watch Watch;

typedef struct Manager {
        sd_event *event;
        sd_bus *bus;
        Events *events;
        Watch *watch;
        sd_event_source *opening; /* until calls are answered */
        sd_event_source *ending;
        WorkerSet workers;
        ManagerState state;
        char *state_text; /* what the recovery does or did, for people; NULL when there is nothing to say */
        json_t *list; /* the last answer of `list`, or NULL */
        uint64_t readings, list_reading; /* how many were begun; which one the list is from */
        bool refreshing, refresh_again;
        uint64_t refresh_reading; /* the number of the one under way */
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
/* The request to a worker that shows something, and the number of its reading; new reference. */
json_t *manager_reading(Manager *m, uint64_t *ret_number);
/* What one of them answered, rows of `list`, `show` or `status`: tells whether libvirt could be asked. */
void manager_learn(Manager *m, const json_t *rows, uint64_t number);
/* The same and manager_sync after an answer of `list`, of which a copy is kept unless a later reading has ended
 * before. */
void manager_set_list(Manager *m, const json_t *list, uint64_t number);
/* libvirt can be asked again. */
void manager_libvirt_is_back(Manager *m);
/* Shows in an answer of `list` or `status` what only the daemon knows: the controllers of running and hung jobs. */
void manager_overlay_list(const Manager *m, json_t *list);
void manager_overlay_status(const Manager *m, json_t *status);

/* 0 when a change of the host may begin now, else the reason: "recovering", "busy". */
int manager_check_change(const Manager *m, Error **e);
/* 0 when one more call or job of that user fits: "too-many". */
int manager_check_room(const Manager *m, uid_t uid, Error **e);
