/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "model/firmware.h"
#include "model/pci-address.h"

/*
 * Host is a value: one reading of the machine, filled by probe/ and never changed afterwards. check/ and plan/ are pure
 * functions of it. What could not be read is TRI_UNKNOWN, NULL or a *_known flag of false, and a check that needs it says
 * "skip". All strings and arrays are owned by the Host.
 */

typedef enum Tri {
        TRI_UNKNOWN = -1,
        TRI_NO = 0,
        TRI_YES = 1,
} Tri;

/* Class codes, upper 16 of 24 bits (PCI Code and ID Assignment Specification 1.11, section 1) */
#define PCI_CLASS16_STORAGE_FIRST 0x0100
#define PCI_CLASS16_IDE 0x0101
#define PCI_CLASS16_SATA 0x0106
#define PCI_CLASS16_SAS 0x0107
#define PCI_CLASS16_NVME 0x0108
#define PCI_CLASS16_MEMORY 0x0500
#define PCI_CLASS16_HOST_BRIDGE 0x0600
#define PCI_CLASS16_ISA_BRIDGE 0x0601
#define PCI_CLASS16_PCI_BRIDGE 0x0604
#define PCI_CLASS16_SMBUS 0x0c05

/* A record of rules/70-passthru.hwdb, or of the user's own file. */
typedef struct Quirk {
        char *name;             /* "DMA_ALIAS" */
        char *severity;         /* "info", "warn", "fail" */
        char *reason, *remedy, *source; /* NULL when the record does not tell */
} Quirk;

typedef struct PciFunction {
        PciAddress address;
        PciAddress parent;      /* the bridge above it */
        bool has_parent;        /* false: it sits on a root bus */
        uint16_t vendor, device, subsystem_vendor, subsystem_device;
        uint32_t class;         /* 24 bits: class, subclass, programming interface */
        uint8_t revision;
        int header_type;        /* 0 endpoint, 1 bridge, -1 not read */
        int group;              /* IOMMU group number, -1 none */
        int numa_node;          /* -1 none */
        char *driver;           /* bound driver, NULL none */
        char *driver_override;  /* NULL none */
        char *port_path;        /* stable over bus renumbering: root bus, then device.function of each hop:
                                   "0000:00/02.0/00.0" */
        char *vendor_name, *device_name; /* from pci.ids; NULL unknown */
        char *reset_method;     /* sysfs reset_method, "" when the file is empty, NULL when absent */
        unsigned sriov_vfs;     /* virtual functions enabled now */
        bool is_vf;             /* it is a virtual function itself */
        bool has_serial;        /* PCIe Device Serial Number capability present */
        uint64_t serial;
        Tri config_dead;        /* config space reads all ones */

        unsigned config_size;   /* bytes of config space that could be read: more than 64 needs root */
        bool multifunction;
        int pcie_type;          /* device/port type of the PCI Express capability, or one of those below */
        bool slot;              /* a port whose link ends in a slot */
        Tri msi;                /* has MSI or MSI-X */
        Tri acs;                /* has an ACS capability */
        uint16_t acs_able, acs_on; /* its capability and control registers */
        Tri d3cold_allowed;     /* sysfs d3cold_allowed */
        Tri runtime_pm;         /* power/control is auto */
        Tri power_switch;       /* ACPI can cut its power (power resources for D3hot) */
        unsigned link_speed, link_speed_max; /* MT/s; 0 no link, or unknown */
        unsigned link_width, link_width_max;
        unsigned remapped_nvme; /* NVMe drives that the firmware hides behind this AHCI controller */
        Quirk *quirks;          /* what the hardware database knows of it */
        size_t n_quirks;
} PciFunction;

#define PCIE_CONVENTIONAL (-1)
#define PCIE_UNKNOWN (-2)       /* config space beyond 64 bytes could not be read */

typedef enum RegionKind {
        REGION_DIRECT,          /* RMRR, IVMD: bars assignment (drivers/iommu/iommu.c) */
        REGION_DIRECT_RELAXABLE,
        REGION_RESERVED,
        REGION_MSI,
        REGION_OTHER,
} RegionKind;

typedef struct ReservedRegion {
        uint64_t start, end;    /* inclusive */
        RegionKind kind;
} ReservedRegion;

typedef struct IommuGroup {
        int number;
        bool noiommu;           /* the group is named vfio-noiommu: no isolation at all */
        Tri open;               /* a process has it open through VFIO; only looked up while the guests are not known */
        PciAddress *members;    /* sorted */
        size_t n_members;
        ReservedRegion *regions;
        size_t n_regions;
        bool regions_known;     /* false: reserved_regions could not be read */
} IommuGroup;

/* How the host uses a disk, in the order in which such uses are taken away, from the top of a stack down. Every kind but
 * DISK_USE_CONFIGURED is a use right now. */
typedef enum DiskUseKind {
        DISK_USE_MOUNT,
        DISK_USE_SWAP,
        DISK_USE_GUEST,         /* a disk of a guest's definition */
        DISK_USE_TARGET,        /* exported by the kernel's SCSI or NVMe target */
        DISK_USE_PROCESS,       /* a process has it open, or a character device that reaches it */
        DISK_USE_LOOP,
        DISK_USE_LVM,           /* an active logical volume */
        DISK_USE_CRYPT,
        DISK_USE_MULTIPATH,
        DISK_USE_DM,            /* device-mapper for another tool */
        DISK_USE_BTRFS,         /* device of a mounted btrfs */
        DISK_USE_ZFS,           /* device of an imported pool */
        DISK_USE_BCACHE,
        DISK_USE_MD,            /* also of an array that is assembled but not started */
        DISK_USE_HOLDER,        /* another block device on top of it */
        DISK_USE_EXCLUSIVE,     /* open(O_EXCL) answered EBUSY and nothing above explains it */
        DISK_USE_CONFIGURED,    /* fstab, crypttab, resume=, root= name it */
        _DISK_USE_MAX,
} DiskUseKind;

typedef struct DiskUse {
        DiskUseKind kind;
        bool boot;              /* /, /usr, /var, /boot, ESP, swap, resume=, crypttab or fstab depend on it */
        char *chain;            /* for people: "sdb1 → md0 → /srv", ends with what uses it */
} DiskUse;

/* What is written on a disk or a partition of it, in use or not. */
typedef struct DiskSignature {
        char *where;            /* kernel name of the disk or partition */
        char *type;             /* libblkid's word for it: zfs_member, LVM2_member, ext4, gpt */
        char *label, *uuid;     /* NULL none */
} DiskSignature;

typedef struct Disk {
        char *name;             /* kernel name: sda, nvme0n1 */
        char *serial, *wwn, *model; /* NULL unknown */
        uint64_t size;          /* bytes */
        PciAddress controller;  /* nearest PCI function above it; a multipath NVMe disk is listed once for each */
        Tri exclusive;          /* TRI_YES: open(O_EXCL) succeeded; TRI_NO: EBUSY; unknown: not tried or other error */
        DiskUse *uses;
        size_t n_uses;
        DiskSignature *signatures;
        size_t n_signatures;
        bool signatures_known;  /* the disk and all of its partitions were looked at */
        Tri healthy;            /* by its own judgement (SMART); unknown: not asked, or no answer */
        char *health;           /* why it is not healthy, or why that is not known; for people */
} Disk;

/* A use of what is behind a controller and is no disk: a tape, a changer, an enclosure, the controller's own node. */
typedef struct ControllerUse {
        PciAddress controller;
        char *chain;            /* "st0 → tar (pid 812)" */
} ControllerUse;

typedef enum GuestState {
        GUEST_SHUT_OFF,
        GUEST_RUNNING,
        GUEST_PAUSED,
        GUEST_OTHER,
        _GUEST_STATE_MAX,
} GuestState;

/* One <hostdev type='pci'> of a guest, in the persistent or in the live definition. */
typedef struct GuestDevice {
        PciAddress address;
        char *alias;            /* "ua-passthru-..." is ours; NULL none */
        bool managed;
        bool in_config, in_live;
        bool nvme;              /* a <disk type='nvme'>: QEMU's own driver has the controller */
        bool rom_off;           /* the guest does not see its option ROM */
        bool boots;             /* the guest boots from it */
} GuestDevice;

/* A <disk> of a guest, or a SCSI device of the host that it has directly. */
typedef struct GuestDrive {
        char *name;             /* in the guest, "vda"; of a SCSI device the host's, "scsi_host2:0:0:0" or a target's "naa.6001" */
        char *bus;              /* "virtio", "sata"; NULL none given */
        bool scsi_device;       /* <hostdev type='scsi'> or 'scsi_host' */
        bool fixed;             /* neither a CD-ROM nor a floppy */
        bool paravirtual;
        unsigned boot_order;    /* 0 none */
        char *pool, *volume;    /* of libvirt's storage pools; NULL when it is no volume */
        char **sources;         /* host paths: devices and files; of a volume the pool's devices, too */
        size_t n_sources;
        PciAddress *controllers; /* behind which these lie, as far as this host has them */
        size_t n_controllers;
        char *problem;          /* why it is not known where it lies; NULL known */
} GuestDrive;

/* What libosinfo tells about the system in a guest. */
typedef struct GuestSystem {
        char *id;               /* "http://debian.org/debian/12", from the definition's metadata; NULL none named */
        char *name;             /* "Debian 12"; NULL not looked up, or unknown there */
        char *problem;          /* why not; NULL none */
        Tri virtio_block, virtio_scsi, virtio_net, q35; /* it has drivers of its own for them */
} GuestSystem;

/* Where a running guest could take another PCI device. */
typedef struct GuestPorts {
        bool known;
        bool express;           /* it has PCI Express (q35); without it everything goes to conventional slots */
        unsigned free_ports;    /* PCI Express ports without a device */
        unsigned free_slots;    /* conventional slots */
} GuestPorts;

/* What a guest does with a disk, as its own agent tells: "mounted at /mnt/tank", "member of pool tank". */
typedef struct GuestUse {
        char *serial;           /* of the disk; NULL: the agent does not tell */
        char *controller;       /* its PCI address in the guest; NULL: the agent does not tell */
        char *what;
} GuestUse;

/* A whole disk that the agent lists. */
typedef struct GuestDisk {
        char *serial, *controller; /* as above */
} GuestDisk;

typedef struct Guest {
        char *name, *uuid;
        char *owner;            /* the tool that the definition's metadata names; NULL none */
        char *definition, *live_definition; /* the XML that it was read from, for a recording; NULL none */
        GuestState state;
        bool persistent;
        bool session;           /* of a user's own libvirt: nothing is assigned to it */
        Tri managed_save;       /* a managed-save image exists */
        Tri autostart;
        int memory_snapshots;   /* with the guest's memory in them; -1 unknown */
        char *machine;          /* "pc-q35-7.2"; NULL unknown */
        uint64_t memory;        /* bytes, the most that it can have; 0 unknown */
        uint64_t current_memory; /* bytes, what its balloon is to leave it */
        bool huge_pages;        /* its memory comes from them */
        Tri balloon;
        unsigned n_networks;    /* network cards, those of the host that it has directly left out */
        char *emulated_network; /* model of the first of them that is not paravirtual; NULL none */
        GuestPorts ports;
        GuestSystem system;
        GuestDevice *devices;
        size_t n_devices;
        GuestDrive *drives;
        size_t n_drives;
        Tri agent;              /* TRI_YES: it answered, uses is what it told; TRI_NO: it did not; unknown: not asked */
        char *agent_problem;    /* why it did not, for people */
        GuestDisk *disks;
        size_t n_disks;
        GuestUse *uses;
        size_t n_uses;
        char *memory_nodes;     /* NUMA nodes that its memory is bound to, as in "0-1"; NULL not bound */
} Guest;

/* Another tool's configuration that takes controllers at boot. */
typedef enum ClaimKind {
        CLAIM_DRIVERCTL,        /* binds the function at the address to the driver */
        CLAIM_IDS,              /* vfio-pci takes every function with these ids */
        CLAIM_SOFTDEP,          /* vfio-pci is loaded before the driver */
} ClaimKind;

typedef struct Claim {
        ClaimKind kind;
        PciAddress address;
        uint32_t vendor, device, subsystem_vendor, subsystem_device; /* UINT32_MAX any */
        uint32_t class, class_mask;
        char *driver;
        char *where;            /* the file */
        char *text;             /* what it says, for people */
} Claim;
#define GUEST_UNREAD                                                                                                \
        (Guest) {                                                                                                   \
                .managed_save = TRI_UNKNOWN, .agent = TRI_UNKNOWN, .autostart = TRI_UNKNOWN, .memory_snapshots = -1, \
                .balloon = TRI_UNKNOWN,                                                                             \
                .system = { .virtio_block = TRI_UNKNOWN, .virtio_scsi = TRI_UNKNOWN, .virtio_net = TRI_UNKNOWN,     \
                            .q35 = TRI_UNKNOWN },                                                                   \
        }

/* Our own record: one controller that belongs to a guest (from the assignment store). */
typedef struct Assigned {
        PciAddress address;
        char *guest;
        char *host_driver;      /* bound before the assignment; NULL none */
        char *port_path;
        uint16_t vendor, device, subsystem_vendor, subsystem_device;
        uint32_t class;
        uint8_t revision;
        bool has_serial;
        uint64_t serial;
        PciAddress *group_members; /* the group at assign time, sorted */
        size_t n_group_members;
        char **disk_serials;
        size_t n_disk_serials;
} Assigned;

typedef struct Host {
        PciFunction *functions; /* sorted by address */
        size_t n_functions;
        IommuGroup *groups;     /* sorted by number */
        size_t n_groups;
        Disk *disks;            /* sorted by name */
        size_t n_disks;
        ControllerUse *controller_uses;
        size_t n_controller_uses;
        Guest *guests;          /* sorted by name */
        size_t n_guests;
        Assigned *assigned;     /* sorted by address */
        size_t n_assigned;

        bool guests_known;      /* libvirt (or a recording) answered; false: guests are not known */
        char *guests_problem;   /* why not, for people; NULL when known or simply no libvirt there */
        bool uses_known;        /* mounts, swaps and holders could be read */
        bool exclusive_tried;   /* the disks behind the controllers in question were tried to be opened exclusively */
        bool openers_known;     /* who has these disks open was looked for in all processes */
        char *architecture;     /* uname -m; NULL unknown */
        char *command_line;     /* /proc/cmdline; NULL unknown */
        char *boot_id;          /* NULL unknown */
        Firmware firmware;      /* what its table says, as far as it could be read */
        char **iommu_units;     /* names below /sys/class/iommu */
        size_t n_iommu_units;
        Tri iommu_class_known;  /* TRI_YES: /sys/class/iommu could be read */
        Tri firmware_iommu;     /* a DMAR or IVRS table is there */
        Tri vfio_pci;           /* module or built-in for the running kernel */
        Tri vfio_noiommu;       /* vfio.enable_unsafe_noiommu_mode */

        const char *firmware_table; /* "DMAR", "IVRS", NULL neither or unknown; static */
        Tri iommu_built;        /* the running kernel's configuration has the driver for that table */
        Tri iommu_default_on;   /* ... and turns it on without being asked */
        Tri cpu_virtualization; /* vmx or svm in /proc/cpuinfo */
        Tri kvm;
        Tri interrupts_remapped; /* an IR- chip in /proc/interrupts */
        char *unsafe_interrupts; /* where allow_unsafe_interrupts is set; NULL nowhere */
        Tri idle_d3_disabled;   /* vfio_pci.disable_idle_d3 */
        char *kernel_release;   /* NULL unknown */
        char *builtin_modules;  /* modules.builtin of the running kernel; NULL unknown */
        Tri ecc;                /* a memory controller with ECC reports to EDAC */
        char *numa_nodes;       /* nodes that are online, as in "0-1"; NULL unknown */
        Claim *claims;
        size_t n_claims;
        bool claims_known;      /* the command line and /etc could be read */
        Tri quirks_known;       /* TRI_YES: the hardware database has our records */
        uint64_t memory;        /* bytes; 0 unknown */
        uint64_t huge_memory;   /* bytes of it set aside as huge pages of any size */
} Host;

Host *host_new(void); /* NULL: out of memory */
Host *host_free(Host *h);
DEFINE_CLEANUP(Host *, host_free)

/* Destructors of one element's contents, for probes that build arrays. */
void pci_function_clear(PciFunction *f);
void iommu_group_clear(IommuGroup *g);
void disk_clear(Disk *d);
void disk_signature_clear(DiskSignature *s);
void guest_clear(Guest *g);
void guest_drive_clear(GuestDrive *d);
void assigned_clear(Assigned *a);
void quirk_clear(Quirk *q);
void claim_clear(Claim *c);

/* Sorts the arrays as documented above; every probe run ends with it. */
void host_sort(Host *h);

/* Look-ups; NULL when there is none. */
const PciFunction *host_find_function(const Host *h, const PciAddress *a);
const IommuGroup *host_find_group(const Host *h, int number);
const IommuGroup *host_group_of(const Host *h, const PciAddress *a);
const Guest *host_find_guest(const Host *h, const char *name);
const Assigned *host_find_assigned(const Host *h, const PciAddress *a);
/* The firmware demands the region for this function. */
bool host_region_names(const Host *h, const FirmwareRegion *r, const PciFunction *f);
/* The guest whose definition (config or live) holds the address, and the device in it (ret_device may be NULL). */
const Guest *host_guest_with_device(const Host *h, const PciAddress *a, const GuestDevice **ret_device);

/* Mass storage, header type 0 (or unknown): class 0x01xx. */
bool pci_function_is_controller(const PciFunction *f);
bool pci_function_is_bridge(const PciFunction *f);
/* Drivers that leave a group viable: none, vfio-*, pci-stub, pcieport
 * (.driver_managed_dma, drivers/iommu/iommu.c iommu_device_use_default_domain). */
bool pci_driver_is_vfio_safe(const char *driver);
/* Any vfio driver, e.g. vfio-pci. */
bool pci_driver_is_vfio(const char *driver);
/* uio: a program drives it (SPDK, DPDK), with disks that the kernel does not see. */
bool pci_driver_is_uio(const char *driver);
/* One of these, or pci-stub: somebody has taken it from the host on purpose. */
bool pci_driver_is_reserving(const char *driver);
/* "sata", "sas", "nvme", "ide", "raid", "scsi", "storage" */
const char *pci_function_kind(const PciFunction *f);
/* "Vendor Device" or the ids; newly allocated, NULL when out of memory. */
char *pci_function_model(const PciFunction *f);
/* Every endpoint of the group is on a driver that leaves it viable, or is itself a storage controller of `also` (the set that
 * would be bound). TRI_UNKNOWN without a group, or when a member could not be read. */
Tri host_group_isolated(const Host *h, const PciFunction *f, const PciAddress *also, size_t n_also);

/* First tier of identity: port path, ids, class, revision, PCIe serial and the group's membership. True when f is still what
 * a records; else *ret_why (may be NULL) tells the first difference in words (newly allocated). */
bool assigned_matches(const Assigned *a, const Host *h, const PciFunction *f, char **ret_why);
/* The same but for the group: the device itself. Enough to give it back, not to take it. */
bool assigned_is_device(const Assigned *a, const PciFunction *f, char **ret_why);

const char *disk_use_kind_to_string(DiskUseKind k);
const char *guest_state_to_string(GuestState s);
