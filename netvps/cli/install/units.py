"""The units of systemd for a server and for a runner, as text; that of everything together is in `systemd_unit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.cli.machine.systemd_unit import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEMPLATE: Final = """\
# Written by `netvps service install --shape {shape}`; `netvps service uninstall --shape {shape}` removes it.
[Unit]
Description=netvps: {what}
Wants=network-online.target
After={after}

[Service]
Type=notify
ExecStart={program} {shape}
{environment}{credentials}Restart=on-failure
RestartSec=5
# It waits for what it depends on, and says so in its log.
TimeoutStartSec=infinity
TimeoutStopSec=90
KillMode=mixed
LimitNOFILE=1048576
StateDirectory=netvps
StateDirectoryMode=0700
RuntimeDirectory=netvps
RuntimeDirectoryPreserve=yes
{hardening}
[Install]
WantedBy=multi-user.target
"""
_COMMON: Final = """\
NoNewPrivileges=yes
LockPersonality=yes
ProtectClock=yes
ProtectHostname=yes
RestrictRealtime=yes
SystemCallArchitectures=native
"""
_SERVER: Final = f"""\
# No privilege at all: an account of its own, no capability, a file system that it cannot write.
User=netvps
DynamicUser=yes
CapabilityBoundingSet=
{_COMMON}PrivateDevices=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
_RUNNER: Final = f"""\
# Root, for Docker and for files of sessions with their owners and modes; without what it does not need of root.
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_BPF CAP_PERFMON CAP_SYS_ADMIN CAP_SYS_PTRACE
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP
CapabilityBoundingSet=CAP_KILL CAP_SETGID CAP_SETUID CAP_SYS_RESOURCE CAP_SYSLOG
{_COMMON}RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
"""
_KINDS: Final = {
    "server": ("control plane and SSH gateway", "network-online.target", _SERVER),
    "runner": ("runner", "network-online.target docker.service", _RUNNER),
}


def render(shape: str, program: str, environment: Mapping[str, str], credentials: Mapping[str, str]) -> str:
    """The unit of a server or a runner; `credentials` are files, by the name of the setting that they hold."""
    what, after, hardening = _KINDS[shape]
    folders = {"NETVPS_STATE_DIR": "/var/lib/netvps", "NETVPS_RUNTIME_DIR": "/run/netvps"}
    variables = sorted((dict(environment) | folders).items())
    return _TEMPLATE.format(
        shape=shape,
        what=what,
        after=after,
        program=quoted(program),
        environment="".join(f"Environment={quoted(f'{name}={value}')}\n" for name, value in variables),
        credentials="".join(f"LoadCredential={quoted(f'{name}:{file}')}\n" for name, file in credentials.items()),
        hardening=hardening,
    )
