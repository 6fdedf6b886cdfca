/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/events.h"

#include <errno.h>
#include <libudev.h>
#include <time.h>

/* One controller that comes or goes makes dozens of events: its disks, partitions and drivers. */
#define SETTLE_USEC (200 * 1000ULL)

struct Events {
        Manager *manager;
        struct udev *udev;
        struct udev_monitor *monitor;
        sd_event_source *io, *timer;
};

static int on_settled(sd_event_source *s, uint64_t usec, void *userdata) {
        Events *ev = userdata;

        (void) s;
        (void) usec;
        manager_refresh(ev->manager);
        return 0;
}

static int on_uevent(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        struct udev_device *d;
        Events *ev = userdata;

        (void) s;
        (void) fd;
        (void) revents;
        while ((d = udev_monitor_receive_device(ev->monitor)))
                udev_device_unref(d);
        (void) sd_event_source_set_time_relative(ev->timer, SETTLE_USEC);
        (void) sd_event_source_set_enabled(ev->timer, SD_EVENT_ONESHOT);
        return 0;
}

static int events_listen(Events *ev) {
        sd_event *event = ev->manager->event;
        int r;

        ev->udev = udev_new();
        ev->monitor = ev->udev ? udev_monitor_new_from_netlink(ev->udev, "udev") : NULL;
        if (!ev->monitor)
                return errno > 0 ? -errno : -ENOMEM;
        if ((r = udev_monitor_filter_add_match_subsystem_devtype(ev->monitor, "pci", NULL)) < 0 ||
            (r = udev_monitor_filter_add_match_subsystem_devtype(ev->monitor, "block", "disk")) < 0 ||
            (r = udev_monitor_enable_receiving(ev->monitor)) < 0)
                return r;
        r = sd_event_add_time_relative(event, &ev->timer, CLOCK_MONOTONIC, SETTLE_USEC, 0, on_settled, ev);
        if (r >= 0)
                r = sd_event_source_set_enabled(ev->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_io(event, &ev->io, udev_monitor_get_fd(ev->monitor), EPOLLIN, on_uevent, ev);
        return r;
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
        sd_event_source_disable_unref(ev->io);
        sd_event_source_disable_unref(ev->timer);
        udev_monitor_unref(ev->monitor);
        udev_unref(ev->udev);
        free(ev);
        return NULL;
}
