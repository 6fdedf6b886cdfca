/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "apply/journal.h"
#include "base/file.h"
#include "support-plan.h"

/* In the place of libc's: how many more calls fail, as on a disk that does. */
static int failing_syncs;

int fsync(int fd) {
        if (failing_syncs > 0) {
                failing_syncs--;
                errno = EIO;
                return -1;
        }
        return (int) syscall(SYS_fsync, fd);
}

/* A directory of its own for each test, and a plan to write. */
typedef struct Place {
        char path[64];
        int dir;
        Host *host;
        Plan *plan;
} Place;

static int place_make(void **state) {
        Place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        (void) snprintf(p->path, sizeof p->path, "/tmp/test-journal-XXXXXX");
        assert_non_null(mkdtemp(p->path));
        p->dir = dir_open(AT_FDCWD, p->path);
        assert_true(p->dir >= 0);
        p->host = machine_new();
        p->plan = plan_for(p->host, PLAN_ASSIGN, "nas", &hba, 1);
        *state = p;
        return 0;
}

static int place_remove(void **state) {
        Place *p = *state;

        (void) unlinkat(p->dir, "journal", 0);
        closep(&p->dir);
        (void) rmdir(p->path);
        (void) plan_free(p->plan);
        (void) host_free(p->host);
        free(p);
        return 0;
}

static Journal *open_journal(const Place *p) {
        _cleanup_error_ Error *e = NULL;
        Journal *j = NULL;

        if (journal_open(p->dir, 0, &j, &e) < 0)
                fail_msg("%s", e->message);
        return j;
}

static Transaction *begin(const Place *p, Journal *j) {
        _cleanup_error_ Error *e = NULL;
        Transaction *t = NULL;

        if (journal_begin(j, p->plan, "boot-1", &t, &e) < 0)
                fail_msg("%s", e->message);
        return t;
}

static char *contents(const Place *p) {
        char *text = NULL;

        assert_int_equal(file_read(p->dir, "journal", &text, NULL), 0);
        return text;
}

static void put(const Place *p, const char *text, size_t size) {
        _cleanup_close_ int fd = openat(p->dir, "journal", O_WRONLY | O_CREAT | O_TRUNC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, size), size);
}

static void add(const Place *p, const char *text) {
        _cleanup_close_ int fd = openat(p->dir, "journal", O_WRONLY | O_APPEND);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void assert_word(const char *text, const char *word) {
        if (!text || !strstr(text, word))
                fail_msg("\"%s\" does not say \"%s\"", text ? text : "", word);
}

static size_t lines(const char *text) {
        size_t n = 0;

        for (; *text; text++)
                n += *text == '\n';
        return n;
}

/* -- the file ---------------------------------------------------------------------------------------------------------- */

static void a_new_journal_is_empty_and_private(void **state) {
        const Place *p = *state;
        mode_t before = umask(0);
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = NULL;
        struct stat st;

        (void) umask(before);
        assert_int_equal(fstatat(p->dir, "journal", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_size, 0);
        assert_int_equal(journal_open_transaction(j, &t, NULL), 0);
        assert_null(t);
}

static void odd_files_are_refused(void **state) {
        const Place *p = *state;
        _cleanup_error_ Error *e = NULL, *f = NULL;
        Journal *j = NULL;

        assert_int_equal(symlinkat("/dev/null", p->dir, "journal"), 0);
        assert_int_equal(journal_open(p->dir, 0, &j, &e), -ELOOP);
        assert_word(e->message, p->path);
        assert_int_equal(unlinkat(p->dir, "journal", 0), 0);
        assert_int_equal(mkfifoat(p->dir, "journal", 0600), 0);
        assert_int_equal(journal_open(p->dir, 0, &j, &f), -EINVAL);
        assert_null(j);
}

static void one_holds_the_lock(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *first = open_journal(p), *second = NULL;
        _cleanup_error_ Error *e = NULL;
        char pid[16];

        (void) snprintf(pid, sizeof pid, " %d ", getpid());
        assert_int_equal(journal_open(p->dir, 60, &second, &e), -EAGAIN);
        assert_null(second);
        assert_word(e->message, p->path);
        if (access("/proc/locks", R_OK) == 0)
                assert_word(e->message, pid);
        first = journal_close(first);
        second = open_journal(p);
}

static void the_lock_is_waited_for(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = NULL;
        int ready[2], status;
        char c;

        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Journal *own = NULL;
                if (journal_open(p->dir, 0, &own, NULL) < 0 || write(ready[1], "x", 1) != 1)
                        _exit(1);
                usleep(200 * 1000);
                _exit(0); /* without closing: the kernel lets go of it */
        }
        assert_int_equal(read(ready[0], &c, 1), 1);
        assert_int_equal(journal_open(p->dir, 0, &j, NULL), -EAGAIN);
        assert_int_equal(journal_open(p->dir, -1, &j, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        closep(&ready[0]);
        closep(&ready[1]);
}

/* -- transactions ------------------------------------------------------------------------------------------------------ */

static void each_record_is_there_at_once(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, j), *open = NULL;
        _cleanup_json_ json_t *plan = plan_to_json(p->plan), *read = NULL;

        assert_int_equal(journal_start(j, t, 0, NULL), 0);
        assert_int_equal(journal_done(j, t, 0, NULL), 0);
        assert_int_equal(journal_start(j, t, 1, NULL), 0);
        assert_int_equal(journal_undone(j, t, 1, NULL), 0);
        assert_int_equal(journal_start(j, t, 2, NULL), 0);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_non_null(open);
        assert_string_equal(open->id, t->id);
        assert_string_equal(open->boot_id, "boot-1");
        for (size_t i = 0; i < p->plan->n_steps; i++)
                assert_int_equal(open->progress[i], t->progress[i]);
        assert_int_equal(t->progress[0], STEP_DONE);
        assert_int_equal(t->progress[1], STEP_UNDONE);
        assert_int_equal(t->progress[2], STEP_STARTED);
        read = plan_to_json(open->plan);
        assert_true(json_equal(plan, read));
        _cleanup_free_ char *text = contents(p);
        assert_int_equal(lines(text), 6);
}

static void ended_transactions_are_not_open(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *one = begin(p, j), *open = NULL;

        assert_int_equal(journal_commit(j, one, NULL), 0);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_null(open);
        _cleanup_(transaction_freep) Transaction *two = begin(p, j);
        assert_string_not_equal(one->id, two->id);
        /* The words of an abort may hold whatever a disk calls itself. */
        assert_int_equal(journal_abort(j, two, "disk \xff\xfe is gone", NULL), 0);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_null(open);
}

static void an_open_transaction_comes_first(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *one = begin(p, j), *two = NULL;
        _cleanup_error_ Error *e = NULL;
        _cleanup_free_ char *before = contents(p);

        assert_int_equal(journal_begin(j, p->plan, "boot-1", &two, &e), -EBUSY);
        assert_word(e->message, one->id);
        _cleanup_free_ char *after = contents(p);
        assert_string_equal(before, after);
}

static void a_later_process_goes_on(void **state) {
        const Place *p = *state;
        Journal *first = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, first), *open = NULL, *none = NULL;

        assert_int_equal(journal_start(first, t, 0, NULL), 0);
        (void) journal_close(first);
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_int_equal(journal_undone(j, open, 0, NULL), 0);
        assert_int_equal(journal_abort(j, open, "recovered", NULL), 0);
        assert_int_equal(journal_open_transaction(j, &none, NULL), 0);
        assert_null(none);
        /* It is over: nothing more is written of it. */
        _cleanup_(journal_closep) Journal *third = (j = journal_close(j), open_journal(p));
        assert_true(journal_done(third, t, 0, NULL) < 0);
}

/* -- torn and bad lines ------------------------------------------------------------------------------------------------ */

static void every_torn_line_is_dropped(void **state) {
        const Place *p = *state;
        Journal *first = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, first);
        _cleanup_free_ char *text = NULL;

        assert_int_equal(journal_start(first, t, 0, NULL), 0);
        (void) journal_close(first);
        text = contents(p);
        size_t size = strlen(text), whole = (size_t) (strchr(text, '\n') - text) + 1;
        for (size_t cut = 0; cut < size; cut++) {
                _cleanup_(transaction_freep) Transaction *open = NULL;
                size_t kept = 99;
                assert_int_equal(journal_parse(text, cut, &open, &kept, NULL), 0);
                assert_int_equal(kept, cut < whole ? 0 : whole);
                assert_int_equal(open != NULL, cut >= whole);
                assert_true(!open || open->progress[0] == STEP_NOT_STARTED);
        }
        put(p, text, size - 3);
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *open = NULL;
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_int_equal(journal_start(j, open, 1, NULL), 0);
        _cleanup_free_ char *now = contents(p);
        assert_int_equal(lines(now), 2);
        assert_word(now, "\"step\":1}\n");
}

static void bad_lines_stop_everything(void **state) {
        static const struct {
                const char *line, *word;
        } cases[] = {
                { "{ broken\n", "no JSON object" },
                { "\n", "no JSON object" },
                { "[]\n", "no JSON object" },
                { "{}\n", "type" },
                { "{\"type\":\"start\",\"tx\":\"other\",\"step\":1}\n", "not open" },
                { "{\"type\":\"start\",\"step\":1}\n", "not open" },
                { "{\"type\":\"think\",\"tx\":\"T\"}\n", "unknown type" },
                { "{\"type\":\"start\",\"tx\":\"T\",\"step\":99}\n", "does not have" },
                { "{\"type\":\"start\",\"tx\":\"T\",\"step\":-1}\n", "does not have" },
                { "{\"type\":\"start\",\"tx\":\"T\",\"step\":\"1\"}\n", "does not have" },
                { "{\"type\":\"start\",\"tx\":\"T\"}\n", "does not have" },
                { "{\"type\":\"start\",\"tx\":\"T\",\"step\":0}\n", "follow" },
                { "{\"type\":\"done\",\"tx\":\"T\",\"step\":1}\n", "follow" },
                { "{\"type\":\"undone\",\"tx\":\"T\",\"step\":1}\n", "follow" },
                { "{\"type\":\"start\",\"tx\":\"T\",\"step\":1,\"step\":2}\n", "no JSON object" },
                { "{\"version\":1,\"type\":\"begin\",\"tx\":\"U\"}\n", "within" },
        };
        const Place *p = *state;
        Journal *first = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, first);

        assert_int_equal(journal_start(first, t, 0, NULL), 0);
        (void) journal_close(first);
        _cleanup_free_ char *good = contents(p);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error *e = NULL, *again = NULL;
                _cleanup_(transaction_freep) Transaction *open = NULL, *other = NULL;
                _cleanup_free_ char *line = strdup(cases[i].line), *full = NULL;
                char *mark = strstr(line, "\"T\"");
                if (mark)
                        assert_true(asprintf(&full, "%.*s\"%s\"%s", (int) (mark - line), line, t->id, mark + 3) > 0);
                put(p, good, strlen(good));
                add(p, full ? full : line);
                add(p, "{\"type\":\"torn");
                _cleanup_free_ char *before = contents(p);
                _cleanup_(journal_closep) Journal *j = open_journal(p);
                assert_int_equal(journal_open_transaction(j, &open, &e), -EBADMSG);
                assert_null(open);
                assert_word(e->message, p->path);
                assert_word(e->message, "line 3");
                assert_word(e->message, cases[i].word);
                assert_non_null(e->remedy);
                assert_true(journal_begin(j, p->plan, NULL, &other, &again) < 0);
                assert_true(journal_done(j, t, 0, NULL) < 0);
                _cleanup_free_ char *after = contents(p);
                assert_string_equal(before, after);
        }
}

static void bad_begins_stop_everything(void **state) {
        static const char *const keys[] = { "version", "tx", "plan", "boot" };
        const Place *p = *state;
        Journal *first = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, first);

        (void) journal_close(first);
        _cleanup_free_ char *text = contents(p);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_json_ json_t *j = json_loadb(text, strlen(text), JSON_DISABLE_EOF_CHECK, NULL);
                _cleanup_(transaction_freep) Transaction *open = NULL;
                _cleanup_error_ Error *e = NULL;
                json_object_set_new(j, keys[i], json_true());
                _cleanup_free_ char *dump = json_dumps(j, JSON_COMPACT), *bad = NULL;
                assert_true(asprintf(&bad, "%s\n", dump) > 0);
                assert_int_equal(journal_parse(bad, strlen(bad), &open, NULL, &e), -EBADMSG);
                assert_word(e->message, "line 1");
        }
}

static void unknown_versions_are_refused(void **state) {
        static const char text[] = "{\"version\":2,\"type\":\"begin\",\"tx\":\"x\",\"how\":\"unknown\"}\n";
        const Place *p = *state;
        _cleanup_error_ Error *e = NULL;
        _cleanup_(transaction_freep) Transaction *open = NULL;

        put(p, text, strlen(text));
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        assert_int_equal(journal_open_transaction(j, &open, &e), -EPROTONOSUPPORT);
        assert_string_equal(e->name, "journal-version");
        assert_word(e->message, "line 1: version 2");
        assert_non_null(e->remedy);
}

static void what_a_crash_leaves_of_a_block_is_dropped(void **state) {
        static const char zeros[4096] = "";
        _cleanup_(transaction_freep) Transaction *open = NULL;
        size_t whole = 1;

        (void) state;
        assert_int_equal(journal_parse(zeros, sizeof zeros, &open, &whole, NULL), 0);
        assert_null(open);
        assert_int_equal(whole, 0);
}

/* -- a full disk, and a large file ------------------------------------------------------------------------------------- */

static rlim_t limit_file_size(rlim_t size) {
        struct rlimit was, limit;

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
        limit = (struct rlimit){ .rlim_cur = size, .rlim_max = was.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        return was.rlim_cur;
}

/* RLIMIT_FSIZE lets a write begin and not end, as a full disk does. */
static void a_record_that_does_not_fit_is_not_there(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, j), *open = NULL;
        _cleanup_error_ Error *e = NULL;
        _cleanup_free_ char *before = contents(p);
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

        rlim_t was = limit_file_size(strlen(before) + 10);
        int r = journal_start(j, t, 0, &e);
        (void) limit_file_size(was);
        (void) signal(SIGXFSZ, handler);
        assert_int_equal(r, -EFBIG);
        assert_word(e->message, p->path);
        assert_non_null(e->remedy);
        assert_int_equal(t->progress[0], STEP_NOT_STARTED);
        _cleanup_free_ char *after = contents(p);
        assert_string_equal(before, after);
        assert_int_equal(journal_start(j, t, 0, NULL), 0);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_int_equal(open->progress[0], STEP_STARTED);
}

/* Also when cutting it off cannot be synced either: then the file is looked at anew. */
static void a_record_that_is_not_synced_is_not_there(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = begin(p, j), *open = NULL;

        for (int failures = 1; failures <= 2; failures++) {
                _cleanup_error_ Error *e = NULL;
                _cleanup_(transaction_freep) Transaction *still = NULL;
                failing_syncs = failures;
                assert_int_equal(journal_commit(j, t, &e), -EIO);
                assert_int_equal(failing_syncs, 0);
                assert_word(e->message, p->path);
                assert_int_equal(journal_open_transaction(j, &still, NULL), 0);
                assert_non_null(still);
        }
        assert_int_equal(journal_start(j, t, 0, NULL), 0);
        assert_int_equal(journal_abort(j, t, "it failed", NULL), 0);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_null(open);
}

static void a_new_name_that_is_not_synced_is_an_error(void **state) {
        const Place *p = *state;
        Journal *j = NULL;

        failing_syncs = 1;
        assert_int_equal(journal_open(p->dir, 0, &j, NULL), -EIO);
        assert_null(j);
}

static void a_begin_that_does_not_fit_begins_nothing(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *t = NULL;
        _cleanup_error_ Error *e = NULL;
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

        rlim_t was = limit_file_size(100);
        int r = journal_begin(j, p->plan, "boot-1", &t, &e);
        (void) limit_file_size(was);
        (void) signal(SIGXFSZ, handler);
        assert_int_equal(r, -EFBIG);
        assert_null(t);
        _cleanup_free_ char *text = contents(p);
        assert_string_equal(text, "");
}

static void a_large_file_starts_anew(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *one = begin(p, j), *last = NULL;
        struct stat st;

        assert_int_equal(journal_commit(j, one, NULL), 0);
        _cleanup_free_ char *text = contents(p);
        size_t size = strlen(text);
        for (size_t n = size; n <= 1024 * 1024; n += size)
                add(p, text);
        last = begin(p, j);
        assert_int_equal(fstatat(p->dir, "journal", &st, 0), 0);
        assert_true((size_t) st.st_size < size);
        assert_int_equal(journal_start(j, last, 0, NULL), 0);
        _cleanup_(transaction_freep) Transaction *open = NULL;
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_string_equal(open->id, last->id);
}

static void a_large_file_with_an_open_transaction_stays(void **state) {
        const Place *p = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(p);
        _cleanup_(transaction_freep) Transaction *one = begin(p, j), *open = NULL, *other = NULL;

        assert_int_equal(journal_commit(j, one, NULL), 0);
        _cleanup_free_ char *text = contents(p);
        size_t size = strlen(text);
        for (size_t n = size; n <= 1024 * 1024; n += size)
                add(p, text);
        *(strchr(text, '\n') + 1) = 0;
        add(p, text); /* the begin alone */
        assert_int_equal(journal_begin(j, p->plan, NULL, &other, NULL), -EBUSY);
        assert_int_equal(journal_open_transaction(j, &open, NULL), 0);
        assert_non_null(open);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(a_new_journal_is_empty_and_private),
                TEST(odd_files_are_refused),
                TEST(one_holds_the_lock),
                TEST(the_lock_is_waited_for),
                TEST(each_record_is_there_at_once),
                TEST(ended_transactions_are_not_open),
                TEST(an_open_transaction_comes_first),
                TEST(a_later_process_goes_on),
                TEST(every_torn_line_is_dropped),
                TEST(bad_lines_stop_everything),
                TEST(bad_begins_stop_everything),
                TEST(unknown_versions_are_refused),
                TEST(what_a_crash_leaves_of_a_block_is_dropped),
                TEST(a_record_that_does_not_fit_is_not_there),
                TEST(a_record_that_is_not_synced_is_not_there),
                TEST(a_new_name_that_is_not_synced_is_an_error),
                TEST(a_begin_that_does_not_fit_begins_nothing),
                TEST(a_large_file_starts_anew),
                TEST(a_large_file_with_an_open_transaction_stays),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
