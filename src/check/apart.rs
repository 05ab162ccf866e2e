//! What a container is not asked: its kernel, and so the settings, the clock, the audit record, the memory and the verified
//! root file system, are its host's. So is what is mounted before its systemd starts.

/// The ids of such checks, or their beginnings up to a dot.
pub const APART: [&str; 35] = [
    "resources.limit.auditd.service",
    "resources.limit.chrony.service",
    "resources.memory.size",
    "resources.processors",
    "resources.usage.auditd.service",
    "resources.usage.chrony.service",
    "security.apparmor",
    "security.audit",
    "security.cmdline",
    "security.kernel",
    "security.mount./proc",
    "security.mount./sys",
    // podman mounts these, and lets programs run there.
    "security.mount./run",
    "security.mount./tmp",
    "security.root",
    "security.sysctl.dev",
    "security.sysctl.fs",
    "security.sysctl.kernel",
    "security.sysctl.net.core",
    // Of interfaces that its host makes.
    "security.sysctl.net.ipv4.conf.*.accept_redirects",
    "security.sysctl.net.ipv4.conf.*.send_redirects",
    "security.sysctl.net.ipv4.conf.all.forwarding",
    "security.sysctl.net.ipv4.conf.default.forwarding",
    "security.sysctl.net.ipv4.ip_forward",
    "security.sysctl.net.ipv6.conf.*.accept_redirects",
    "security.sysctl.net.ipv6.conf.all.forwarding",
    "security.sysctl.net.ipv6.conf.default.forwarding",
    "security.sysctl.user",
    "security.sysctl.vm",
    "services.time",
    "services.unit.audit-rules.service",
    "services.unit.auditd.service",
    "services.unit.chrony.service",
    "services.unit.rave-apparmor.service",
    "services.unit.systemd-udev-trigger.service",
];
