/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Starts polkit's agent for terminals, unless the session has an agent already; it ends with the program. Without it, or
 * when polkit is not installed, the daemon's answer tells what is missing. */
void agent_start(void);
