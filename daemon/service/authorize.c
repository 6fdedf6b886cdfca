/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/authorize.h"

#include "service/manager.h"

typedef enum Who {
        WHO_ANYONE,
        WHO_ROOT,
} Who;

/* What is not in this table is denied, to root too. */
static const struct {
        const char *interface, *member;
        Who who;
} table[] = {
        { BUS_MANAGER, "List", WHO_ROOT },
        { BUS_MANAGER, "Show", WHO_ROOT },
        { BUS_MANAGER, "Status", WHO_ROOT },
        { BUS_MANAGER, "Preflight", WHO_ROOT },
        { BUS_MANAGER, "PlanAssign", WHO_ROOT },
        { BUS_MANAGER, "PlanRelease", WHO_ROOT },
        { BUS_MANAGER, "Assign", WHO_ROOT },
        { BUS_MANAGER, "Release", WHO_ROOT },
        /* Properties hold nothing private; there are none to set. */
        { "org.freedesktop.DBus.Properties", "Get", WHO_ANYONE },
        { "org.freedesktop.DBus.Properties", "GetAll", WHO_ANYONE },
        { "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", WHO_ANYONE },
        { "org.freedesktop.DBus.Introspectable", "Introspect", WHO_ANYONE },
        { "org.freedesktop.DBus.Peer", "Ping", WHO_ANYONE },
        { "org.freedesktop.DBus.Peer", "GetMachineId", WHO_ANYONE },
};

bool authorize_sender_is_root(sd_bus_message *m) {
        sd_bus_creds *creds = NULL;
        uid_t uid = (uid_t) -1;

        /* From the bus daemon, which has it from the socket: nothing that the sender could change meanwhile. */
        int r = m ? sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds) : -1;
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &uid);
        sd_bus_creds_unref(creds);
        return r >= 0 && uid == 0;
}

static bool authorize_call(sd_bus_message *m, const char *interface, const char *member) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (str_equal(table[i].interface, interface) && str_equal(table[i].member, member))
                        return table[i].who == WHO_ANYONE || authorize_sender_is_root(m);
        return false;
}

int authorize_filter(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m);
        uint8_t type = 0;

        (void) userdata;
        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL ||
            authorize_call(m, interface, member))
                return 0;
        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "permission denied: %s.%s\nrun it as root",
                                 interface ? interface : "(no interface)", member ? member : "?");
}
