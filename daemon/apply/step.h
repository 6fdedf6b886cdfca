/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "apply/apply.h"
#include "probe/openers.h"

/*
 * Inside apply/: what carries out one step. Everything is looked up below `root`, so that a directory laid out like /
 * serves the tests; what only a kernel can do (loading modules, VFIO) is done on the live machine alone.
 */

/* A disk that is open exclusively. It stays so over the unbind: nobody mounts it in between. */
typedef struct Hold {
        int fd;
        char *name;
        PciAddress controller;
} Hold;

typedef int (*AttrWriter)(void *userdata, int dir, const char *name, const char *value);

typedef struct StepContext {
        int root;                /* AT_FDCWD: this machine */
        const char *sysroot;     /* path of root, NULL: this machine */
        const char *libvirt_uri;
        const Host *host;        /* the reading that the plan was made from; while undoing, a fresh one */
        const Plan *plan;
        bool undoing;
        ApplyCancelled cancelled; /* NULL: never */
        Hold *holds;
        size_t n_holds;
        AttrWriter write;        /* NULL: attr_write. The tests put a model of the kernel here. */
        void *write_userdata;
} StepContext;

typedef int (*StepFunction)(StepContext *c, const Step *s, Error **e);

/* Names of errors that say: what is there is not ours, so an undo leaves it alone. */
#define STEP_ERROR_FOREIGN "foreign"
#define STEP_ERROR_MISMATCH "mismatch"
#define STEP_ERROR_MISSING "missing"

/* Each does its step or, when the object is where the step leads, nothing. */
int step_hold(StepContext *c, const Step *s, Error **e);
int step_flush(StepContext *c, const Step *s, Error **e);
int step_override(StepContext *c, const Step *s, Error **e);
int step_unbind(StepContext *c, const Step *s, Error **e);
int step_bind(StepContext *c, const Step *s, Error **e);
int step_verify(StepContext *c, const Step *s, Error **e);
int step_store(StepContext *c, const Step *s, Error **e);
int step_unstore(StepContext *c, const Step *s, Error **e);
int step_attach(StepContext *c, const Step *s, Error **e);
int step_detach(StepContext *c, const Step *s, Error **e);
int step_plug(StepContext *c, const Step *s, Error **e);
int step_unplug(StepContext *c, const Step *s, Error **e);

/* -- disks (step-disk.c) ------------------------------------------------------------------------------------------- */

/* Somebody wants the plan stopped. What is being undone is undone to its end. */
static inline bool step_is_cancelled(const StepContext *c) {
        return !c->undoing && c->cancelled && c->cancelled();
}

static inline bool step_is_live(const StepContext *c) {
        return !c->sysroot;
}

/* Closes all holds; before any bind and before any undo, as a held disk keeps the host's driver from its partitions. */
void holds_release(StepContext *c);
/* Before the host's driver loses the controller: every disk behind it is held. In a plan they are already (one that is
 * not came since: refused); while undoing they are held and flushed here. */
int disks_secure(StepContext *c, const PciAddress *controller, Error **e);
/* Number of disks behind the controller now. */
int disks_count(StepContext *c, const PciAddress *controller, size_t *ret, Error **e);
/* After the host's driver has taken the controller: until as many disks are back as there were before the plan, or for
 * ten seconds. They are probed asynchronously (drivers/ata/libata-core.c, async_port_probe). That some stay away is no
 * failure of the bind: a disk may have been pulled. */
int disks_wait(StepContext *c, const PciAddress *controller, Error **e);

/* -- drivers (step-driver.c) --------------------------------------------------------------------------------------- */

/* Our record of the controller as the plan or the store has it; false when there is none. ret is to be cleared. */
bool step_record(const StepContext *c, const PciAddress *a, Assigned *ret);

/* -- assignments (step-store.c) --------------------------------------------------------------------------------------
 * */

/* Removes what writing the plan's assignments left when it was killed, and the store's directories when they are empty. They are ours
 * and say nothing then: without assignments the host is as it was before the first. */
void store_tidy(const StepContext *c);

/* -- libkmod (step-module.c) --------------------------------------------------------------------------------------- */

/* Loads a module by name or modalias. Built in or already there is fine. */
int module_load(const char *name, Error **e);

/* -- the transaction (apply.c), for the tests ---------------------------------------------------------------------- */

int apply_run(StepContext *c, Journal *j, ApplyProgress progress, void *userdata, Error **e);
int apply_recover_in(StepContext *c, Journal *j, Recovery *ret, Error **e);
