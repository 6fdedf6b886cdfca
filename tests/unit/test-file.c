/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/text.h"

typedef struct Scratch {
        char path[64];
        int fd;
} Scratch;

static int scratch_make(void **state) {
        Scratch *s = calloc(1, sizeof *s);

        strcpy(s->path, "/tmp/passthru-file-XXXXXX");
        assert_non_null(mkdtemp(s->path));
        s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(s->fd >= 0);
        *state = s;
        return 0;
}

static int scratch_remove(void **state) {
        Scratch *s = *state;
        char command[96];

        (void) snprintf(command, sizeof command, "rm -rf %s", s->path);
        assert_int_equal(system(command), 0);
        close(s->fd);
        free(s);
        return 0;
}

static void put(Scratch *s, const char *name, const char *data) {
        assert_int_equal(file_replace(s->fd, name, data, strlen(data), 0644), 0);
}

static void reads_attributes_without_their_newline(void **state) {
        Scratch *s = *state;
        _cleanup_free_ char *value = NULL;
        unsigned long long n;

        put(s, "vendor", "0x8086\n");
        put(s, "empty", "");
        put(s, "junk", "12x\n");
        put(s, "negative", "-1\n");
        assert_int_equal(attr_read(s->fd, "vendor", &value), 0);
        assert_string_equal(value, "0x8086");
        assert_int_equal(attr_read_u64(s->fd, "vendor", &n), 0);
        assert_int_equal(n, 0x8086);
        assert_int_equal(attr_read_u64(s->fd, "empty", &n), -EINVAL);
        assert_int_equal(attr_read_u64(s->fd, "junk", &n), -EINVAL);
        assert_int_equal(attr_read_u64(s->fd, "negative", &n), -EINVAL);
        assert_int_equal(attr_read_u64(s->fd, "absent", &n), -ENOENT);
}

static void stays_inside_the_root(void **state) {
        Scratch *s = *state;
        _cleanup_free_ char *value = NULL, *path = NULL, *name = NULL;

        put(s, "inside", "inside\n");
        assert_int_equal(symlinkat("/inside", s->fd, "absolute"), 0);
        assert_int_equal(symlinkat("/etc/passwd", s->fd, "escape"), 0);
        assert_int_equal(symlinkat("../../../../etc/passwd", s->fd, "climb"), 0);
        assert_int_equal(attr_read(s->fd, "absolute", &value), 0);
        assert_string_equal(value, "inside");
        assert_int_equal(file_open(s->fd, "escape", O_RDONLY), -ENOENT);
        assert_int_equal(file_open(s->fd, "climb", O_RDONLY), -ENOENT);
        assert_int_equal(path_resolve(s->fd, "absolute", &path), 0);
        assert_string_equal(path, "/inside");
        assert_int_equal(link_read_name(s->fd, "climb", &name), 0);
        assert_string_equal(name, "passwd");
}

static void replaces_a_file_whole_or_not_at_all(void **state) {
        Scratch *s = *state;
        _cleanup_free_ char *value = NULL;
        static char big[64 * 1024];
        struct rlimit old, small;
        struct stat st;

        put(s, "file", "old");
        memset(big, 'x', sizeof big);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = (struct rlimit) { .rlim_cur = 4096, .rlim_max = old.rlim_max };
        assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int r = file_replace(s->fd, "file", big, sizeof big, 0600);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(r, -EFBIG);
        assert_int_equal(attr_read(s->fd, "file", &value), 0);
        assert_string_equal(value, "old");
        assert_false(file_exists(s->fd, ".file.new"));

        assert_int_equal(file_replace(s->fd, "file", "new", 3, 0600), 0);
        assert_int_equal(fstatat(s->fd, "file", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_size, 3);
        assert_int_equal(file_remove(s->fd, "file"), 0);
        assert_int_equal(file_remove(s->fd, "file"), -ENOENT);
}

static void refuses_endless_files(void **state) {
        char *value = NULL;

        (void) state;
        assert_int_equal(file_read(AT_FDCWD, "/dev/zero", &value, NULL), -E2BIG);
}

/* While ".." is followed the kernel gives up when anything on the machine is renamed. */
static void renames_elsewhere_do_not_matter(void **state) {
        const Scratch *s = *state;

        assert_int_equal(mkdirat(s->fd, "a", 0755), 0);
        assert_int_equal(mkdirat(s->fd, "b", 0755), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        for (bool forth = true; pid == 0; forth = !forth)
                if (renameat(s->fd, forth ? "b" : "c", s->fd, forth ? "c" : "b") < 0)
                        _exit(1);
        while (file_exists(s->fd, "b"))
                (void) sched_yield();
        int failed = 0;
        for (int i = 0; i < 200000; i++)
                failed += !file_exists(s->fd, "a/../a/../a/../a/../a");
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(failed, 0);
}

static void text_is_cleaned(void **state) {
        static const char *const cases[][2] = {
                { "sda → /srv", "sda → /srv" }, { "a\nb\tc\033[31m", "a?b?c?[31m" },   { "\xff\xc0\x80", "???" },
                { "x\xe2\x86", "x??" },         { "\xed\xa0\x80", "???" },             { "\xc2\x9b", "??" },
                { "", "" },                     { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char text[32];
                (void) snprintf(text, sizeof text, "%s", cases[i][0]);
                text_clean(text);
                assert_string_equal(text, cases[i][1]);
        }
        text_clean(NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(text_is_cleaned),
                cmocka_unit_test_setup_teardown(reads_attributes_without_their_newline, scratch_make, scratch_remove),
                cmocka_unit_test_setup_teardown(stays_inside_the_root, scratch_make, scratch_remove),
                cmocka_unit_test_setup_teardown(replaces_a_file_whole_or_not_at_all, scratch_make, scratch_remove),
                cmocka_unit_test(refuses_endless_files),
                cmocka_unit_test_setup_teardown(renames_elsewhere_do_not_matter, scratch_make, scratch_remove),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
