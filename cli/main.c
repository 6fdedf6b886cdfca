/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>

#include "cli.h"
#include "model/pci-address.h"
#include "output.h"

/* Options that only some verbs have */
enum {
        SYSROOT_OK = 1, GUEST_OK = 2, DRY_RUN_OK = 4, ACCEPT_OK = 8, NO_ATTACH_OK = 16, FORCE_OK = 32, YES_OK = 64, RAW_OK = 128,
        VERBOSE_OK = 256,
};

static const struct {
        const char *name, *arguments, *help;
        size_t least, most;
        int (*run)(const Arguments *a, Error **e);
        unsigned options;
} verbs[] = {
        { "list", "[--sysroot DIR]", "storage controllers and what they are used for", 0, 0, verb_list, SYSROOT_OK },
        { "show", "ADDRESS", "all about one controller", 1, 1, verb_show, 0 },
        { "preflight", "[ADDRESS...] [--guest NAME] [--sysroot DIR] [-v]", "would assigning it be safe?", 0, 64, verb_preflight,
          GUEST_OK | SYSROOT_OK | VERBOSE_OK },
        { "assign", "ADDRESS... GUEST [--dry-run] [--accept CHECK]... [--no-attach] [--yes]",
          "give controllers to a guest", 2, 65, verb_assign, DRY_RUN_OK | ACCEPT_OK | NO_ATTACH_OK | YES_OK },
        { "release", "ADDRESS... | --guest NAME [--dry-run] [--force-unplug] [--yes]", "give controllers back to the host", 0, 64,
          verb_release, GUEST_OK | DRY_RUN_OK | FORCE_OK | YES_OK },
        { "status", "", "assignments and their health; exit status 1 when one is unhealthy", 0, 0, verb_status, 0 },
        { "monitor", "", "events as they happen, until Ctrl-C", 0, 0, verb_monitor, 0 },
        { "record", "[DIR] [--raw]", "what the checks read, as a directory for --sysroot", 0, 1, verb_record, RAW_OK },
};

int usage_error(Error **e, const char *format, ...) {
        _cleanup_free_ char *message = NULL;
        va_list ap;

        va_start(ap, format);
        int r = vasprintf(&message, format, ap);
        va_end(ap);
        if (r < 0)
                return error_oom(e);
        return error_set_full(e, EINVAL, "usage", "`passthructl --help` shows how it is used.", "%s", message);
}

int check_addresses(char **words, size_t n, Error **e) {
        PciAddress a;

        for (size_t i = 0; i < n; i++)
                if (pci_address_parse(words[i], &a) < 0)
                        return usage_error(e, "\"%s\" is no PCI address of the form 0000:03:00.0", words[i]);
        return 0;
}

static void help(void) {
        printf("usage: passthructl [--json] [-H [USER@]HOST] VERB ...\n\n"
               "Hands SATA, SAS and NVMe controllers to storage guests.\n\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                printf("  %s %s\n        %s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
        printf("\n"
               "      --json          machine-readable output\n"
               "  -H, --host HOST     ask the daemon of another machine, through ssh\n"
               "      --sysroot DIR   read a recorded machine instead of asking the daemon\n"
               "      --dry-run       show the plan and do nothing\n"
               "      --accept CHECK  go on although this check failed; hard checks cannot be accepted\n"
               "      --no-attach     reserve the controllers, leave the guest's definition alone\n"
               "      --force-unplug  take it from a running guest that does not show its disks unmounted\n"
               "      --yes           do not ask\n"
               "      --raw           record serial numbers, UUIDs, MAC addresses and host names as they are\n"
               "  -v, --verbose       name the checks that passed, too\n"
               "      --help          this text\n"
               "      --version       the version\n\n"
               "Exit status: 0 done, 1 refused, denied, absent or failed, 2 malformed arguments. See passthructl(1).\n");
}

static int parse(int argc, char **argv, Arguments *a, Error **e) {
        enum { JSON = 256, YES, DRY_RUN, ACCEPT, NO_ATTACH, FORCE_UNPLUG, GUEST, SYSROOT, RAW, HELP, VERSION };
        static const struct option options[] = {
                { "json", no_argument, NULL, JSON },
                { "yes", no_argument, NULL, YES },
                { "dry-run", no_argument, NULL, DRY_RUN },
                { "accept", required_argument, NULL, ACCEPT },
                { "no-attach", no_argument, NULL, NO_ATTACH },
                { "force-unplug", no_argument, NULL, FORCE_UNPLUG },
                { "guest", required_argument, NULL, GUEST },
                { "sysroot", required_argument, NULL, SYSROOT },
                { "raw", no_argument, NULL, RAW },
                { "host", required_argument, NULL, 'H' },
                { "verbose", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, HELP },
                { "version", no_argument, NULL, VERSION },
                {},
        };
        int option;

        opterr = 0;
        while ((option = getopt_long(argc, argv, ":H:v", options, NULL)) != -1)
                switch (option) {
                case JSON:
                        a->json = true;
                        break;
                case YES:
                        a->yes = true;
                        break;
                case DRY_RUN:
                        a->dry_run = true;
                        break;
                case ACCEPT:
                        a->accept[a->n_accept++] = optarg;
                        break;
                case NO_ATTACH:
                        a->no_attach = true;
                        break;
                case FORCE_UNPLUG:
                        a->force_unplug = true;
                        break;
                case GUEST:
                        a->guest = optarg;
                        break;
                case SYSROOT:
                        a->sysroot = optarg;
                        break;
                case RAW:
                        a->raw = true;
                        break;
                case 'H':
                        a->host = optarg;
                        break;
                case 'v':
                        a->verbose = true;
                        break;
                case HELP:
                        help();
                        exit(EXIT_DONE);
                case VERSION:
                        printf("passthructl %s\n", PASSTHRU_VERSION);
                        exit(EXIT_DONE);
                case ':':
                        return usage_error(e, "option %s needs an argument", argv[optind - 1]);
                default:
                        return usage_error(e, "unknown option %s", argv[optind - 1]);
                }
        /* ssh would take it for an option */
        if (a->host && (*a->host == '-' || !*a->host))
                return usage_error(e, "\"%s\" is no host", a->host);
        a->words = argv + optind;
        a->n_words = (size_t) (argc - optind);
        return 0;
}

/* An option that would be ignored may be the one that was to keep this machine untouched. */
static int check_options(const Arguments *a, const char *verb, unsigned allowed, Error **e) {
        const struct {
                bool given;
                unsigned option;
                const char *name;
        } options[] = {
                { a->sysroot, SYSROOT_OK, "--sysroot" },
                { a->guest, GUEST_OK, "--guest" },
                { a->dry_run, DRY_RUN_OK, "--dry-run" },
                { a->n_accept > 0, ACCEPT_OK, "--accept" },
                { a->no_attach, NO_ATTACH_OK, "--no-attach" },
                { a->force_unplug, FORCE_OK, "--force-unplug" },
                { a->yes, YES_OK, "--yes" },
                { a->raw, RAW_OK, "--raw" },
                { a->verbose, VERBOSE_OK, "--verbose" },
        };

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (options[i].given && !(allowed & options[i].option))
                        return usage_error(e, "%s has no option %s", verb, options[i].name);
        if (a->sysroot && a->host)
                return usage_error(e, "--sysroot reads a directory here, -H asks another machine: name one");
        return 0;
}

static int run(int argc, char **argv, Arguments *a, Error **e) {
        int r = parse(argc, argv, a, e);

        if (r < 0)
                return r;
        if (a->n_words == 0)
                return usage_error(e, "which verb?");
        const char *name = a->words++[0];
        a->n_words--;
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                if (!str_equal(verbs[i].name, name))
                        continue;
                if (a->n_words < verbs[i].least || a->n_words > verbs[i].most)
                        return usage_error(e, "usage: passthructl %s %s", name, verbs[i].arguments);
                r = check_options(a, name, verbs[i].options, e);
                return r < 0 ? r : verbs[i].run(a, e);
        }
        return usage_error(e, "unknown verb \"%s\"", name);
}

int main(int argc, char **argv) {
        _cleanup_free_ char **accept = calloc((size_t) argc + 1, sizeof *accept);
        _cleanup_error_ Error *e = NULL;
        Arguments a = { .accept = accept };

        if (!accept)
                return EXIT_REFUSED;
        (void) setlocale(LC_CTYPE, ""); /* for libsmartcols' trees */
        int r = run(argc, argv, &a, &e);
        if (r < 0) {
                output_error(e, r, a.json);
                return e && str_equal(e->name, "usage") ? EXIT_USAGE : EXIT_REFUSED;
        }
        /* Output to a full disk is a failure. */
        if (fflush(stdout) != 0 || ferror(stdout)) {
                fprintf(stderr, "passthructl: the output could not be written: %m\n");
                return EXIT_REFUSED;
        }
        return r;
}
