"""Where the SSH gateway of a server is, and the plain ssh command for a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.errors import Unavailable

if TYPE_CHECKING:
    from netvps.cli.server.contexts import Context
    from netvps.domain.server import ServerInfo


def address(info: ServerInfo, context: Context) -> tuple[str, int]:
    """Host and port of the gateway; where the server names no host, it is the one that serves the API.

    Raises Unavailable if the server has no gateway.
    """
    host, _, port = info.ssh_address.rpartition(":")
    if not port.isdecimal():
        raise Unavailable(f"the server of context {context.name} has no SSH gateway; ask its operator")
    host = host.strip("[]") or _own_address(info, context)
    # It ends up on a command line, behind no "--": a server must not be able to give ssh an option.
    if host.startswith("-") or not all(c.isalnum() or c in ".-:%_" for c in host):
        raise Unavailable(f"the server of context {context.name} names a gateway that is no host: {host!a}")
    return host, int(port)


def _own_address(info: ServerInfo, context: Context) -> str:
    """The host that serves the API; on its own machine, an address that it listens on where that is not loopback."""
    addresses = [name for name in info.names if _is_address(name)]
    if not context.address.startswith("unix:") or not addresses or context.host in addresses:
        return context.host
    return addresses[-1]  # those that the operator gave come first, and may be of a router


def _is_address(name: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def plain_ssh(name: str, info: ServerInfo, context: Context) -> str:
    """The command that any ssh client takes."""
    host, port = address(info, context)
    return f"ssh {name}@{host} -p {port}"
