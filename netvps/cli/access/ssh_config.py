"""What netvps adds to a person's OpenSSH client configuration, as text; nothing here reads or writes a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

DOMAIN: Final = "netvps"
ZONE: Final = "nv.internal"
"""What ends a session's own name, NAME.OWNER.nv.internal: its host key is certified for it."""
NO_SESSION: Final = "_netvps"
"""A login name that no session can have: the gateway then leads to sessions."""
MOST_SESSIONS: Final = 1000
"""Sessions that are listed: ssh reads all of them at each start, which takes 45 ms for so many."""
_HEADER: Final = "# Written by `netvps config-ssh` and replaced as a whole: keep your own settings in ~/.ssh/config.\n"
# Quotes would end a value, % begins a token, a wildcard or a control character would change what Include reads.
_UNSAFE: Final = re.compile(r'["%*?\[\]\\\x00-\x1f\x7f\ud800-\udfff]')
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.+-]+")
_SECTION: Final = re.compile(rb"[ \t]*(host|match)[ \t=\"]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The SSH gateway of a context, the key that it knows this person by, and the person's sessions there."""

    context: str
    host: str
    port: int
    names: tuple[str, ...]
    """Names and addresses of the gateway that people type."""
    host_key: str
    """OpenSSH form, without comment."""
    identity: str
    """Path of the private key, or of the public half of one that is in the ssh-agent."""
    sessions: tuple[str, ...] = ()
    host_ca: str = ""
    """Public key of the CA that certifies the sessions' own host keys, OpenSSH form; '' where it was not asked for."""
    proxy: bool = False
    """Whether sessions are reached by their own names through `netvps ssh-proxy`, not by ProxyJump."""

    @property
    def alias(self) -> str:
        """The name of its host key, whatever address is dialled."""
        return f"netvps-{self.context}"


@dataclass(frozen=True, slots=True)
class Files:
    """Where the texts go: `config` is the one that the person's own file includes."""

    config: Path
    sessions: Path
    known_hosts: Path

    @classmethod
    def of(cls, ssh: Path) -> Files:
        """Those in a person's ~/.ssh."""
        return cls(ssh / "netvps/config", ssh / "netvps/sessions", ssh / "netvps/known_hosts")


def include_line(files: Files) -> bytes:
    """The line of the person's own file. Raises ConfigError for a path that ssh_config cannot hold."""
    return f"Include {quoted(files.config)}\n".encode()


def with_include(text: bytes, line: bytes) -> bytes:
    """The person's own file with the line at its top, where it comes before all sections; unchanged if it is there."""
    for found in text.splitlines(keepends=True):
        if found.strip() == line.strip():
            return text
        if _SECTION.match(found):
            break
    return line + text


def without_include(text: bytes, line: bytes) -> bytes:
    """The person's own file without that line; all other bytes are as they were."""
    return b"".join(found for found in text.splitlines(keepends=True) if found.strip() != line.strip())


def config_text(gateways: Sequence[Gateway], files: Files, program: str) -> str:
    """The included file; `program` is netvps, which brings the list of sessions up to date, '' for none.

    The first gateway leads to sessions by their own names, on connections that it cannot read.

    A gateway is known by its address and its port, since other servers may be at the same address. ssh_config has no
    pattern for a port, so a shell compares it, which costs two milliseconds at those addresses only.
    """
    parts = [_HEADER]
    if program and _PLAIN.fullmatch(program):
        known = "".join(f",!{name}" for name in dict.fromkeys(name for each in gateways for name in _hosts(each)))
        parts.append(f'Match originalhost *.{DOMAIN}{known} exec "{program} config-ssh --quiet"\n')
    parts.append(f"Host *.{DOMAIN}\n  Include {quoted(files.sessions)}\n")
    for gateway in gateways:
        match = f'Match originalhost {",".join(gateway.names)} exec "test %p = {gateway.port}"\n'
        parts.append(match + _settings(gateway, files))
        address = f"  HostName {gateway.host}\n  Port {gateway.port}\n  User {NO_SESSION}\n"
        parts.append(f"Host {gateway.alias}\n{address}{_settings(gateway, files)}")
    if gateways and gateways[0].host_ca:
        parts.append(f"Host *.{ZONE}\n  User root\n  {_way(gateways[0], program)}\n{_trust(gateways[0], files)}")
    return "\n".join(parts)


def sessions_text(gateways: Sequence[Gateway], files: Files) -> str:
    """The file with a Host for each session; where two gateways have a session of that name, the first one's counts."""
    parts, taken = [_HEADER], set[str]()
    for gateway in gateways:
        hosts = [host for host in _hosts(gateway) if host not in taken]
        taken.update(hosts)
        parts += [f"Host {host}\n  User {host.removesuffix(f'.{DOMAIN}')}\n" for host in hosts]
        if hosts:
            address = f"  HostName {gateway.host}\n  Port {gateway.port}\n"
            parts.append(f"Host {' '.join(hosts)}\n{address}{_settings(gateway, files)}")
    return "\n".join(parts)


def known_hosts_text(gateways: Sequence[Gateway]) -> str:
    """The host keys of all gateways, and the CA of the sessions that the first one leads to."""
    keys = [f"{gateway.alias} {gateway.host_key}\n" for gateway in gateways]
    keys += [authority_line(gateway.host_ca) for gateway in gateways[:1] if gateway.host_ca]
    return "".join(keys)


def authority_line(host_ca: str) -> str:
    """The line of a known_hosts file by which the host keys of all sessions of a server are known."""
    return f"@cert-authority *.{ZONE} {host_ca}\n"


def quoted(path: Path) -> str:
    """A path as a value of ssh_config. Raises ConfigError."""
    if _UNSAFE.search(str(path)):
        raise ConfigError(f"{path} has characters that OpenSSH's configuration cannot hold: set HOME to another folder")
    return f'"{path}"'


def _way(gateway: Gateway, program: str) -> str:
    if gateway.proxy and program and _PLAIN.fullmatch(program):
        return f"ProxyCommand {program} --context {gateway.context} ssh-proxy %h"
    return f"ProxyJump {gateway.alias}"


def _hosts(gateway: Gateway) -> list[str]:
    return [f"{name}.{DOMAIN}" for name in gateway.sessions]


def _settings(gateway: Gateway, files: Files) -> str:
    return f"  HostKeyAlias {gateway.alias}\n{_trust(gateway, files)}"


def _trust(gateway: Gateway, files: Files) -> str:
    return (
        f"  IdentityFile {quoted(Path(gateway.identity))}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {quoted(files.known_hosts)}\n"
        "  StrictHostKeyChecking yes\n"
        "  CheckHostIP no\n"
        "  UpdateHostKeys no\n"
    )
