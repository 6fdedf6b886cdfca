# SPDX-License-Identifier: GPL-2.0-or-later
# passthru: make, make check, make demo, make install. `make help` lists the targets.

VERSION := 0.1.0

prefix ?= /usr/local
sysconfdir ?= /etc
localstatedir ?= /var
bindir ?= $(prefix)/bin
sbindir ?= $(prefix)/sbin
mandir ?= $(prefix)/share/man
unitdir ?= $(if $(filter /usr,$(prefix)),/lib/systemd/system,/etc/systemd/system)
# polkit looks nowhere else, wherever the prefix is.
polkitdir := /usr/share/polkit-1/actions
# Nor does udev; the user's own records go to /etc/udev/hwdb.d.
hwdbdir := /usr/lib/udev/hwdb.d
dbusdir ?= $(if $(filter /usr,$(prefix)),/usr/share/dbus-1,/etc/dbus-1)
DESTDIR ?=

BUILD ?= build
PACKAGES := libpci libudev libvirt libvirt-qemu libsystemd blkid mount libkmod jansson smartcols libxml-2.0 libosinfo-1.0

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef
# V=1 shows the commands
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)  $@')

ifdef FUZZ
CC := clang
CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined \
	-fprofile-instr-generate -fcoverage-mapping
LDFLAGS += -fsanitize=address,undefined,fuzzer
else ifdef SANITIZE
CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=address,undefined
else
HARDENING := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LDFLAGS += -pie -Wl,-z,relro,-z,now
endif

# Evaluated when the first object is compiled, not when make starts: `make deps` must work before they are installed.
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)

ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DPASSTHRU_VERSION='"$(VERSION)"' -Idaemon -Icli $(WARNINGS) $(HARDENING) \
	$(PACKAGE_CFLAGS) $(CFLAGS)

CORE := $(wildcard daemon/base/*.c daemon/model/*.c daemon/probe/*.c daemon/check/*.c daemon/plan/*.c daemon/record/*.c)
APPLY := $(wildcard daemon/apply/*.c)
SERVICE := $(wildcard daemon/service/*.c)
CLI := $(wildcard cli/*.c)
TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test-*.c))
HELPERS := $(wildcard tests/unit/support*.c)
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

LAB := tests/lab
# The longest first, so that two at a time end together.
LAB_LONG := $(foreach t,crash hotplug trouble refusals,$(LAB)/test_$(t).py)
LAB_TESTS := $(LAB_LONG) $(filter-out $(LAB_LONG),$(sort $(wildcard $(LAB)/test_*.py)))
BUS := tests/bus

.PHONY: all
all: $(BUILD)/passthrud $(BUILD)/passthructl

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libcore.a: $(call objects,$(CORE))
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(BUILD)/passthrud: $(call objects,$(SERVICE) $(APPLY)) $(BUILD)/libcore.a
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

$(BUILD)/passthructl: $(call objects,$(CLI)) $(BUILD)/libcore.a
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

CLI_TESTED := cli/findings.c cli/report.c cli/alternatives.c
$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(call objects,$(HELPERS) $(APPLY) $(filter-out %/main.c,$(SERVICE)) $(CLI_TESTED)) $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS) -lcmocka

.PHONY: units-built
units-built: $(addprefix $(BUILD)/unit/,$(TESTS))

# -- tests ---------------------------------------------------------------------------------------------------------------

.PHONY: deps
deps:
	@tests/deps

# The unit tests run under AddressSanitizer and UndefinedBehaviorSanitizer, the lab runs what users install, and the
# hostile calls are made to both.
sanitized = $(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/asan SANITIZE=1
unit_parts = $(foreach t,$(TESTS),unit=$(BUILD)/asan/unit/$(t))
# Callers of several users are tested: only root can be all of them.
as_root = $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env=PASSTHRU_FULL)
bus_parts = $(foreach t,test_daemon test_polkit test_cli test_events,'bus=$(as_root) $(BUS)/$(t).py $(BUILD)/passthrud') \
	'bus=$(as_root) $(BUS)/test_hostile.py $(BUILD)/passthrud $(BUILD)/asan/passthrud'

.PHONY: check
check: deps
	@echo "Building the program and its unit tests (with sanitizers)"
	+@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all
	+@$(sanitized) units-built $(BUILD)/asan/passthrud $(BUILD)/asan/passthructl $(BUILD)/asan/print-acpi
	+@$(fuzzing) fuzzers-built
	@tests/run-tests $(unit_parts) $(hosts_parts) $(recording_parts) $(fuzz_parts) $(bus_parts) $(LAB_TESTS:%=lab=%)

.PHONY: check-unit
check-unit:
	+@$(sanitized) units-built
	@tests/run-tests $(unit_parts)

.PHONY: check-bus
check-bus:
	+@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all
	+@$(sanitized) $(BUILD)/asan/passthrud
	@tests/run-tests $(bus_parts)

hosts_parts = 'hosts=tests/hosts/run $(BUILD)/passthructl'

.PHONY: check-hosts
check-hosts:
	+@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) $(BUILD)/passthructl
	@tests/run-tests $(hosts_parts)

# Two side by side, built by clang; so many seconds each.
FUZZERS := $(patsubst tests/fuzz/fuzz-%.c,%,$(wildcard tests/fuzz/fuzz-*.c))
$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/fuzz-%.o $(BUILD)/daemon/apply/journal-parse.o $(BUILD)/libcore.a
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

.PHONY: fuzzers-built
fuzzers-built: $(FUZZERS:%=$(BUILD)/fuzz-%)

export FUZZ_SECONDS ?= 60
fuzzing = $(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/fuzz FUZZ=1
fuzz_parts = $(FUZZERS:%='fuzz=tests/fuzz/run % $(BUILD)/fuzz')

.PHONY: check-fuzz
check-fuzz:
	+@$(fuzzing) fuzzers-built
	@tests/run-tests $(fuzz_parts)

# Scans and firmware tables of real machines, where a copy of them is at hand: DIR has hosts/ and acpi/.
DIR ?= ../shared
$(BUILD)/print-acpi: $(BUILD)/tests/recordings/print-acpi.o $(BUILD)/libcore.a
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

recording_parts = $(if $(wildcard $(DIR)/hosts/expand),'recordings=tests/recordings/check $(DIR) $(BUILD)/asan/passthructl \
	$(BUILD)/asan/print-acpi')

.PHONY: check-recordings
check-recordings:
	@[ -x $(DIR)/hosts/expand ] || { echo "check-recordings: $(DIR)/hosts/expand is not there; name the folder: DIR=..." >&2; exit 1; }
	+@$(sanitized) $(BUILD)/asan/passthructl $(BUILD)/asan/print-acpi
	@tests/run-tests $(recording_parts)

# Each protection taken out in turn: its test must fail.
.PHONY: check-mutants
check-mutants: deps
	@tests/check-mutants $(if $(LAB_MUTANTS),--lab)

# Everything with the full counts of the acceptance lists.
.PHONY: check-all
check-all: export PASSTHRU_FULL := 1
check-all: check
	@tests/check-mutants --lab

# Needs root. virsh is compared only where it is installed and answers.
.PHONY: bench
bench:
	@tests/deps bench
	+@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all
	@$(as_root) tests/bench/bench.py $(BUILD)/passthrud

.PHONY: demo
demo: deps
	@echo "Building passthru"
	+@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all
	@$(LAB)/demo.py

.PHONY: lab
lab: deps
	+@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD) all
	@$(LAB)/shell

# -- installation --------------------------------------------------------------------------------------------------------

substitute = sed -e 's|@sbindir@|$(sbindir)|g' -e 's|@bindir@|$(bindir)|g'

# A database in /etc, which the administrator made, hides the one in /usr/lib: the one in use is made again.
update_hwdb = [ -n "$(DESTDIR)" ] || ! command -v systemd-hwdb >/dev/null || \
	systemd-hwdb $$([ -e /etc/udev/hwdb.bin ] || echo --usr) update

.PHONY: install
install: all
	install -D -m 0755 $(BUILD)/passthrud $(DESTDIR)$(sbindir)/passthrud
	install -D -m 0755 $(BUILD)/passthructl $(DESTDIR)$(bindir)/passthructl
	install -d $(DESTDIR)$(unitdir) $(DESTDIR)$(dbusdir)/system.d $(DESTDIR)/usr/share/dbus-1/system-services
	$(substitute) units/passthrud.service.in > $(DESTDIR)$(unitdir)/passthrud.service
	$(substitute) units/org.passthru1.service.in > $(DESTDIR)/usr/share/dbus-1/system-services/org.passthru1.service
	install -m 0644 units/org.passthru1.conf $(DESTDIR)$(dbusdir)/system.d/org.passthru1.conf
	install -D -m 0644 rules/org.passthru1.policy $(DESTDIR)$(polkitdir)/org.passthru1.policy
	install -D -m 0644 rules/70-passthru.hwdb $(DESTDIR)$(hwdbdir)/70-passthru.hwdb
	$(update_hwdb)
ifneq ($(shell command -v scdoc),)
	install -d $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man8
	scdoc < docs/passthructl.1.scd > $(DESTDIR)$(mandir)/man1/passthructl.1
	scdoc < docs/passthrud.8.scd > $(DESTDIR)$(mandir)/man8/passthrud.8
endif
	@[ -n "$(DESTDIR)" ] || echo "Installed. Start it with: systemctl daemon-reload && systemctl enable --now passthrud"

# Leaves the assignments and the journal: they say whose the controllers are. The README tells how to remove them.
.PHONY: uninstall
uninstall:
	rm -f $(DESTDIR)$(sbindir)/passthrud $(DESTDIR)$(bindir)/passthructl
	rm -f $(DESTDIR)$(unitdir)/passthrud.service $(DESTDIR)$(dbusdir)/system.d/org.passthru1.conf
	rm -f $(DESTDIR)/usr/share/dbus-1/system-services/org.passthru1.service $(DESTDIR)$(polkitdir)/org.passthru1.policy
	rm -f $(DESTDIR)$(mandir)/man1/passthructl.1 $(DESTDIR)$(mandir)/man8/passthrud.8
	rm -f $(DESTDIR)$(hwdbdir)/70-passthru.hwdb
	$(update_hwdb)

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@echo 'all         build passthrud and passthructl'
	@echo 'demo        assign a SATA controller to a guest in a virtual machine, packages included'
	@echo 'check       all tests, packages included; check-unit, check-bus: these alone; check-all: the full counts'
	@echo 'check-hosts runs the checks on machines that are written as text'
	@echo 'check-fuzz  feeds the parsers with broken input, FUZZ_SECONDS each'
	@echo 'check-recordings compares with scans and firmware tables of real machines, DIR=folder'
	@echo 'check-mutants shows that each safety test fails without its protection'
	@echo 'bench       how fast list and preflight are, as ratios to other programs (as root)'
	@echo 'lab         a shell in the emulated host with passthru installed'
	@echo 'install     to DESTDIR, prefix=$(prefix); uninstall takes it away again'

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
