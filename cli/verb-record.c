/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs its own copy of the probes instead of asking the daemon, which must not write where a caller says: as root it sees all
 * that the daemon sees.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "output.h"
#include "probe/probe.h"
#include "record/record.h"

#define DEFAULT_DIRECTORY "passthru-recording"

/* Its own folder that nobody else may look into: nothing is overwritten, and no link of another user is followed. */
static int make_directory(const char *path, Error **e) {
        int fd = mkdir(path, 0700) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0)
                return fd;
        return error_set_full(e, errno, "no-directory", "Name a directory that does not exist yet, in one that you may write to.",
                              "%s cannot be made: %m", path);
}

static json_t *result_of(const char *path, size_t files, const Aliases *a, bool raw) {
        return json_pack("{s:s, s:I, s:I, s:b, s:b}", "directory", path, "files", (json_int_t) files, "replaced",
                         (json_int_t) aliases_count(a), "raw", raw, "complete", geteuid() == 0);
}

static void print_result(const json_t *result) {
        printf("%s: %lld files", output_text(result, "directory"), (long long) json_integer_value(json_object_get(result, "files")));
        if (json_is_true(json_object_get(result, "raw")))
                printf(", with serial numbers, UUIDs, MAC addresses and host names as they are\n");
        else
                printf(", %lld serial numbers, UUIDs, MAC addresses and host names replaced\n",
                       (long long) json_integer_value(json_object_get(result, "replaced")));
        if (!json_is_true(json_object_get(result, "complete")))
                printf("Not recorded without root: configuration space beyond the header, the firmware's tables, exclusive opens of disks, "
                       "other users' mount namespaces.\n");
        printf("It is text: look through it before you give it away. `passthructl preflight --sysroot %s` reads it.\n",
               output_text(result, "directory"));
}

int verb_record(const Arguments *a, Error **e) {
        const char *path = a->n_words > 0 ? a->words[0] : DEFAULT_DIRECTORY;
        _cleanup_(aliases_freep) Aliases *aliases = aliases_new(a->raw);
        _cleanup_(host_freep) Host *h = NULL;
        size_t files;

        if (!aliases)
                return error_oom(e);
        if (a->host)
                return usage_error(e, "record writes what it finds here; to record %s, run it there", a->host);
        int r = probe_host(AT_FDCWD, PROBE_LIVE | PROBE_GUESTS | PROBE_EXCLUSIVE | PROBE_HEALTH, &h, e);
        if (r < 0)
                return r;
        _cleanup_close_ int target = make_directory(path, e);
        if (target < 0)
                return target;
        if ((r = record_host(AT_FDCWD, h, target, aliases, &files, e)) < 0) {
                if (e)
                        error_prefix(*e, "%s, which is left as far as it came", path);
                return r;
        }
        _cleanup_json_ json_t *result = result_of(path, files, aliases, a->raw);
        if (!result)
                return error_oom(e);
        if (a->json)
                output_json(result);
        else
                print_result(result);
        return EXIT_DONE;
}
