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
dbusdir ?= $(if $(filter /usr,$(prefix)),/usr/share/dbus-1,/etc/dbus-1)
DESTDIR ?=

BUILD ?= build
PACKAGES := libpci libudev libvirt libsystemd blkid mount libkmod jansson smartcols libxml-2.0

CC ?= gcc
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef
ifdef SANITIZE
CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=address,undefined
else
HARDENING := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LDFLAGS += -pie -Wl,-z,relro,-z,now
endif

# Evaluated when the first object is compiled, not when make starts: `make deps` must work before they are installed.
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)

ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DPASSTHRU_VERSION='"$(VERSION)"' -Idaemon $(WARNINGS) $(HARDENING) \
	$(PACKAGE_CFLAGS) $(CFLAGS)

CORE := $(wildcard daemon/base/*.c daemon/model/*.c daemon/probe/*.c daemon/check/*.c daemon/plan/*.c)
APPLY := $(wildcard daemon/apply/*.c)
SERVICE := $(wildcard daemon/service/*.c)
CLI := $(wildcard cli/*.c)
TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test-*.c))
HELPERS := $(wildcard tests/unit/support*.c)
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

.PHONY: all
all: $(BUILD)/passthrud $(BUILD)/passthructl

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libcore.a: $(call objects,$(CORE))
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/passthrud: $(call objects,$(SERVICE) $(APPLY)) $(BUILD)/libcore.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

$(BUILD)/passthructl: $(call objects,$(CLI)) $(BUILD)/libcore.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(call objects,$(HELPERS) $(APPLY)) $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS) -lcmocka

.PHONY: units-built
units-built: $(addprefix $(BUILD)/unit/,$(TESTS))

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
