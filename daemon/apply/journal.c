/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's file: lock, look, append, sync. What its lines mean is in journal-parse.c. */
#include "apply/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/file.h"

#define JOURNAL_NAME "journal"
#define LOCK_PAUSE_MS 50
/* Above this a begin starts the file anew: what is in it is over. */
#define ROTATE_SIZE (1024 * 1024)
/* Of each record but begin, generously */
#define RECORD_SIZE 128

struct Journal {
        int dir, fd;
        off_t end;   /* where the next record goes; -1: not known, to be read from the file */
        char *path;  /* for messages */
};

Journal *journal_close(Journal *j) {
        if (!j)
                return NULL;
        closep(&j->fd);
        closep(&j->dir);
        free(j->path);
        free(j);
        return NULL;
}

static char *journal_path(int dir) {
        char link[40], target[PATH_MAX], *path;

        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t n = readlink(link, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = 0;
        return asprintf(&path, "%s/%s", target, JOURNAL_NAME) < 0 ? NULL : path;
}

static int file_error(const Journal *j, int r, const char *what, Error **e) {
        return error_set_full(e, -r, "journal", "Look at the file system: is it full, read-only or failing?",
                              "the journal %s cannot be %s: %s", j->path, what, strerror(-r));
}

/* -- the lock ---------------------------------------------------------------------------------------------------------- */

/* Pid of the process that holds a flock on the file: "1: FLOCK  ADVISORY  WRITE 812 fe:00:131 0 EOF"
 * (lock_get_status, fs/locks.c). The device is left out: btrfs shows another one than stat(2). */
static int lock_holder(int fd) {
        _cleanup_fclose_ FILE *f = fopen("/proc/locks", "re");
        char line[256], type[16];
        unsigned long long inode;
        struct stat st;
        int pid;

        if (!f || fstat(fd, &st) < 0)
                return 0;
        while (fgets(line, sizeof line, f))
                if (sscanf(line, "%*d: %15s %*s %*s %d %*x:%*x:%llu", type, &pid, &inode) == 3 && str_equal(type, "FLOCK") &&
                    inode == st.st_ino)
                        return pid;
        return 0;
}

/* flock(2) has no timeout. */
static int lock_wait(int fd, int timeout_ms) {
        long end = monotonic_ms() + timeout_ms;

        for (;;) {
                if (flock(fd, timeout_ms < 0 ? LOCK_EX : LOCK_EX | LOCK_NB) >= 0)
                        return 0;
                if (errno != EINTR && errno != EWOULDBLOCK)
                        return -errno;
                if (timeout_ms >= 0 && monotonic_ms() >= end)
                        return -EAGAIN;
                if (timeout_ms >= 0)
                        (void) poll(NULL, 0, LOCK_PAUSE_MS);
        }
}

static int lock_error(const Journal *j, int r, Error **e) {
        int pid = r == -EAGAIN ? lock_holder(j->fd) : 0;

        if (r != -EAGAIN)
                return file_error(j, r, "locked", e);
        if (pid <= 0)
                return error_set_full(e, EAGAIN, "locked", "Wait until it has ended.", "another process holds the journal %s",
                                      j->path);
        return error_set_full(e, EAGAIN, "locked", "Wait until it has ended.", "process %d holds the journal %s", pid, j->path);
}

/* Somebody may have removed the file while we waited for its lock: then that lock protects nothing. */
static bool is_current(const Journal *j) {
        struct stat ours, there;

        return fstat(j->fd, &ours) >= 0 && fstatat(j->dir, JOURNAL_NAME, &there, AT_SYMLINK_NOFOLLOW) >= 0 &&
               ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

static int open_file(Journal *j, Error **e) {
        struct stat st;

        closep(&j->fd);
        j->fd = openat(j->dir, JOURNAL_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (j->fd < 0 || fstat(j->fd, &st) < 0)
                return file_error(j, -errno, "opened", e);
        return S_ISREG(st.st_mode) ? 0 : file_error(j, -EINVAL, "opened, as it is no regular file", e);
}

static int journal_lock(Journal *j, int timeout_ms, Error **e) {
        int r;

        do {
                if ((r = open_file(j, e)) < 0)
                        return r;
                if ((r = lock_wait(j->fd, timeout_ms)) < 0)
                        return lock_error(j, r, e);
        } while (!is_current(j));
        /* The name of a new file is durable once the directory is. */
        return fsync(j->dir) < 0 ? file_error(j, -errno, "made durable", e) : 0;
}

int journal_open(int dir, int timeout_ms, Journal **ret, Error **e) {
        _cleanup_(journal_closep) Journal *j = calloc(1, sizeof *j);

        if (!j)
                return error_oom(e);
        *j = (Journal){ .fd = -1, .end = -1, .path = journal_path(dir) };
        j->dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
        if (!j->path)
                return error_oom(e);
        if (j->dir < 0)
                return error_set(e, errno, "the directory of the journal %s cannot be used: %m", j->path);
        int r = journal_lock(j, timeout_ms, e);
        if (r >= 0)
                *ret = TAKE_PTR(j);
        return r;
}

/* -- reading ----------------------------------------------------------------------------------------------------------- */

static int read_all(const Journal *j, char **ret, size_t *ret_size, Error **e) {
        struct stat st;
        size_t n = 0;

        if (fstat(j->fd, &st) < 0)
                return file_error(j, -errno, "read", e);
        if ((uint64_t) st.st_size > FILE_SIZE_LIMIT)
                return file_error(j, -EFBIG, "read", e);
        size_t size = (size_t) st.st_size;
        _cleanup_free_ char *text = malloc(size + 1);
        if (!text)
                return error_oom(e);
        while (n < size) {
                ssize_t got = pread(j->fd, text + n, size - n, (off_t) n);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return file_error(j, got < 0 ? -errno : -EIO, "read", e);
                n += (size_t) got;
        }
        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}

/* The error's own, with the file's name before it; the file is left alone. */
static int parse_error(const Journal *j, int r, Error *why, Error **e) {
        return error_set_full(e, -r, why && why->name ? why->name : "journal", why ? why->remedy : NULL, "%s: %s", j->path,
                              why && why->message ? why->message : strerror(-r));
}

static int load(const Journal *j, Transaction **ret, size_t *ret_whole, Error **e) {
        _cleanup_error_ Error *why = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;

        int r = read_all(j, &text, &size, e);
        if (r < 0)
                return r;
        r = journal_parse(text, size, ret, ret_whole, &why);
        return r < 0 ? parse_error(j, r, why, e) : 0;
}

int journal_open_transaction(Journal *j, Transaction **ret, Error **e) {
        size_t whole;

        return load(j, ret, &whole, e);
}

/* -- writing ----------------------------------------------------------------------------------------------------------- */

/* Cuts the file off at `end`. */
static int cut(Journal *j, off_t end, Error **e) {
        struct stat st;

        if (fstat(j->fd, &st) < 0)
                return file_error(j, -errno, "read", e);
        if (st.st_size == end)
                return 0;
        if (ftruncate(j->fd, end) < 0 || fsync(j->fd) < 0)
                return file_error(j, -errno, "cut off after its last whole line", e);
        return 0;
}

/* Finds the end, drops a torn line, and makes sure that `t` is what the file has open (NULL: nothing). */
static int find_end(Journal *j, const Transaction *t, Error **e) {
        _cleanup_(transaction_freep) Transaction *open = NULL;
        size_t whole;

        int r = load(j, &open, &whole, e);
        if (r < 0)
                return r;
        if (!t && open)
                return error_set_full(e, EBUSY, "recovery-needed", "Let it be undone: systemctl restart passthrud.",
                                      "the journal %s has the unfinished transaction %s", j->path, open->id);
        if (t && (!open || !str_equal(open->id, t->id)))
                return error_set(e, EINVAL, "the journal %s does not have the transaction %s open", j->path, t->id);
        if ((r = cut(j, (off_t) whole, e)) < 0)
                return r;
        j->end = (off_t) whole;
        return 0;
}

static int write_all(int fd, const char *data, size_t size, off_t at) {
        while (size > 0) {
                ssize_t n = pwrite(fd, data, size, at);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                data += n;
                size -= (size_t) n;
                at += n;
        }
        return 0;
}

/* A record that is not known to be on the disk must not be found there later: it is cut off again. If even that fails, the
 * next append looks at the file anew. */
static int append_line(Journal *j, const char *line, Error **e) {
        size_t size = strlen(line);
        int r = write_all(j->fd, line, size, j->end);

        if (r >= 0 && fsync(j->fd) < 0)
                r = -errno;
        if (r >= 0) {
                j->end += (off_t) size;
                return 0;
        }
        if (cut(j, j->end, NULL) < 0)
                j->end = -1;
        return file_error(j, r, "written", e);
}

/* One record as a line; takes the reference. */
static char *record_line(json_t *record) {
        _cleanup_json_ json_t *owned = record;
        _cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
        char *line;

        return !text || asprintf(&line, "%s\n", text) < 0 ? NULL : line;
}

/* Takes the reference. */
static int append(Journal *j, const Transaction *t, json_t *record, Error **e) {
        _cleanup_free_ char *line = record_line(record);
        int r;

        if (!line)
                return error_oom(e);
        if (j->end < 0 && (r = find_end(j, t, e)) < 0)
                return r;
        return append_line(j, line, e);
}

/* Starts the file anew when it has grown large; find_end has seen that nothing is open. */
static int rotate(Journal *j, Error **e) {
        if (j->end <= ROTATE_SIZE)
                return 0;
        int r = cut(j, 0, e);
        if (r >= 0)
                j->end = 0;
        return r;
}

/* Room for every record that the transaction and its undo may need, so that a file system that gets full stops it now and
 * not half-way. Where the file system cannot, the records fail one by one. */
static int reserve(Journal *j, const Plan *p, const char *line, Error **e) {
        off_t size = (off_t) (strlen(line) + RECORD_SIZE * (3 * p->n_steps + 4));

        if (fallocate(j->fd, FALLOC_FL_KEEP_SIZE, j->end, size) < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
                return file_error(j, -errno, "written", e);
        return 0;
}

static int transaction_new(const Plan *p, const char *boot_id, Transaction **ret, Error **e) {
        _cleanup_(transaction_freep) Transaction *t = calloc(1, sizeof *t);
        _cleanup_json_ json_t *plan = plan_to_json(p);
        unsigned char random[8];

        if (!t || !plan)
                return error_oom(e);
        if (getrandom(random, sizeof random, 0) != sizeof random)
                return error_set(e, EIO, "no random bytes are to be had for the name of a transaction");
        t->id = calloc(2 * sizeof random + 1, 1);
        t->boot_id = boot_id ? strdup(boot_id) : NULL;
        t->progress = calloc(p->n_steps + 1, sizeof *t->progress);
        if (!t->id || (boot_id && !t->boot_id) || !t->progress)
                return error_oom(e);
        for (size_t i = 0; i < sizeof random; i++)
                (void) snprintf(t->id + 2 * i, 3, "%02x", random[i]);
        /* What cannot be read back could not be recovered. */
        int r = plan_from_json(plan, &t->plan, e);
        if (r >= 0)
                *ret = TAKE_PTR(t);
        return r;
}

static char *begin_line(const Transaction *t) {
        return record_line(json_pack("{s:i, s:s, s:s, s:s?, s:o}", "version", 1, "type", "begin", "tx", t->id, "boot",
                                     t->boot_id, "plan", plan_to_json(t->plan)));
}

int journal_begin(Journal *j, const Plan *p, const char *boot_id, Transaction **ret, Error **e) {
        _cleanup_(transaction_freep) Transaction *t = NULL;
        _cleanup_free_ char *line = NULL;
        int r;

        if ((r = transaction_new(p, boot_id, &t, e)) < 0)
                return r;
        if (!(line = begin_line(t)))
                return error_oom(e);
        if ((r = find_end(j, NULL, e)) < 0 || (r = rotate(j, e)) < 0 || (r = reserve(j, p, line, e)) < 0 ||
            (r = append_line(j, line, e)) < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

static json_t *step_record(const Transaction *t, const char *type, size_t step) {
        return json_pack("{s:s, s:s, s:I}", "type", type, "tx", t->id, "step", (json_int_t) step);
}

static int append_step(Journal *j, Transaction *t, const char *type, size_t step, StepProgress progress, Error **e) {
        int r = append(j, t, step_record(t, type, step), e);

        if (r >= 0)
                t->progress[step] = progress;
        return r;
}

int journal_start(Journal *j, Transaction *t, size_t step, Error **e) {
        return append_step(j, t, "start", step, STEP_STARTED, e);
}

int journal_done(Journal *j, Transaction *t, size_t step, Error **e) {
        return append_step(j, t, "done", step, STEP_DONE, e);
}

int journal_undone(Journal *j, Transaction *t, size_t step, Error **e) {
        return append_step(j, t, "undone", step, STEP_UNDONE, e);
}

int journal_commit(Journal *j, Transaction *t, Error **e) {
        return append(j, t, json_pack("{s:s, s:s}", "type", "commit", "tx", t->id), e);
}

int journal_abort(Journal *j, Transaction *t, const char *message, Error **e) {
        json_t *text = message ? json_string(message) : NULL; /* NULL: not UTF-8; the abort counts, not its words */

        return append(j, t, json_pack("{s:s, s:s, s:o}", "type", "abort", "tx", t->id, "message", text ? text : json_null()),
                      e);
}
