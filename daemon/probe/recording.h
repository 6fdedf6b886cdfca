/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"

/*
 * What only the live machine answers (libvirt, libkmod, exclusive opens) and no file under a root tells: the fields of Host
 * that recording.c lists. A live probe fills them; `record` writes them into the recording's RECORDING_FILE, and
 * probe_recording fills the same fields from there. The rest of a recording are the files that the other probes read.
 */

#define RECORDING_FILE "/passthru-recording.json"
#define RECORDING_VERSION 1

/* New reference; NULL when out of memory. */
json_t *recording_to_json(const Host *h);
/* The inverse, into a Host that the files have filled: a key that is missing leaves the field as it is. */
int recording_from_json(const json_t *j, Host *h, Error **e);
/* Reads RECORDING_FILE where there is one. */
int probe_recording(Host *h, int root, Error **e);
