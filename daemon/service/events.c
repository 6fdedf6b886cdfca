/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/events.h"

#include <errno.h>
#include <libudev.h>
#include <time.h>

#include "service/settle.h"

struct Events {
        Manager *manager;
        struct udev *udev;
        struct udev_monitor *pci, *block;
        sd_event_source *pci_io, *block_io, *timer;
        uint64_t first; /* event since the last reading, 0 none */
};

static int on_settled(sd_event_source *s, uint64_t usec, void *userdata) {
        Events *ev = userdata;

        (void) s;
        (void) usec;
        ev->first = 0;
        manager_refresh(ev->manager);
        return 0;
}

void events_note(Events *ev) {
        uint64_t now;

        if (sd_event_now(ev->manager->event, CLOCK_MONOTONIC, &now) < 0)
                return;
        if (ev->first == 0)
                ev->first = now;
        (void) sd_event_source_set_time(ev->timer, settle_due(ev->first, now));
        (void) sd_event_source_set_enabled(ev->timer, SD_EVENT_ONESHOT);
}

/* True when it is about what the monitor is for; the kernel's source gives events of everything. What it was does not
 * matter, so one that is lost because the buffer is full counts as well. */
static bool drain(struct udev_monitor *monitor) {
        struct udev_device *d;
        bool any = false;

        errno = 0;
        while ((d = udev_monitor_receive_device(monitor))) {
                udev_device_unref(d);
                any = true;
        }
        return any || errno == ENOBUFS;
}

static int on_uevent(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Events *ev = userdata;

        (void) fd;
        (void) revents;
        if (drain(s == ev->pci_io ? ev->pci : ev->block))
                events_note(ev);
        return 0;
}

static int listen_to(Events *ev, const char *source, const char *subsystem, const char *type,
                     struct udev_monitor **monitor, sd_event_source **io) {
        int r;

        *monitor = udev_monitor_new_from_netlink(ev->udev, source);
        if (!*monitor)
                return errno > 0 ? -errno : -ENOMEM;
        if ((r = udev_monitor_filter_add_match_subsystem_devtype(*monitor, subsystem, type)) < 0 ||
            (r = udev_monitor_enable_receiving(*monitor)) < 0)
                return r;
        return sd_event_add_io(ev->manager->event, io, udev_monitor_get_fd(*monitor), EPOLLIN, on_uevent, ev);
}

/* Functions and their drivers as the kernel has them, whether udev is busy or not; disks once udev knows their serial
 * numbers. */
static int events_listen(Events *ev) {
        int r;

        ev->udev = udev_new();
        if (!ev->udev)
                return errno > 0 ? -errno : -ENOMEM;
        r = sd_event_add_time(ev->manager->event, &ev->timer, CLOCK_MONOTONIC, 0, 10 * 1000, on_settled, ev);
        if (r >= 0)
                r = sd_event_source_set_enabled(ev->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = listen_to(ev, "kernel", "pci", NULL, &ev->pci, &ev->pci_io);
        return r < 0 ? r : listen_to(ev, "udev", "block", "disk", &ev->block, &ev->block_io);
}

int events_new(Manager *m, Events **ret, Error **e) {
        Events *ev = calloc(1, sizeof *ev);

        if (!ev)
                return error_oom(e);
        ev->manager = m;
        int r = events_listen(ev);
        if (r < 0) {
                events_free(ev);
                return error_set(e, -r, "device events cannot be received: %s", strerror(-r));
        }
        *ret = ev;
        return 0;
}

Events *events_free(Events *ev) {
        if (!ev)
                return NULL;
        sd_event_source_disable_unref(ev->pci_io);
        sd_event_source_disable_unref(ev->block_io);
        sd_event_source_disable_unref(ev->timer);
        udev_monitor_unref(ev->pci);
        udev_monitor_unref(ev->block);
        udev_unref(ev->udev);
        free(ev);
        return NULL;
}
