"""`netvps forward`: a port of this machine that leads to one of a session, over ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.access.ssh import command, prepare, replace_by
from netvps.cli.access.ssh_arguments import SshArguments
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import note
from netvps.cli.ui.parse import DURATION

if TYPE_CHECKING:
    from collections.abc import Iterable

_LAST_PORT: Final = 65535


class Ports(click.ParamType[tuple[int, int]]):
    """PORT, or LOCAL:REMOTE."""

    name = "PORT[:PORT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The port here and the port there."""
        if isinstance(value, tuple):
            return value
        here, colon, there = str(value).partition(":")
        ports = [int(port) if port.isdecimal() else 0 for port in (here, there if colon else here)]
        if not all(0 < port <= _LAST_PORT for port in ports):
            self.fail(f"{value!r} is not PORT or LOCAL:REMOTE: give for example 8080:80", param, ctx)
        return ports[0], ports[1]


@click.command("forward")
@click.argument("name", type=SESSION)
@click.argument("ports", nargs=-1, required=True, type=Ports(), metavar="PORT[:PORT]...")
@click.option("--address", default="127.0.0.1", show_default=True, help="Listen on this address of this machine.")
@click.option("--timeout", type=DURATION, default="2m", show_default=True, help="How long to wait for a start.")
def forward(name: str, ports: tuple[tuple[int, int], ...], address: str, timeout: float) -> None:
    """Make ports of a session reachable on this machine, until Ctrl-C.

    PORT is the same on both sides; LOCAL:REMOTE are the port here and the port of the session.

    \b
    Examples: netvps forward dev1 8080
              netvps forward dev1 8080:80 5432
    """  # noqa: D301 — Click means the character
    login = SshArguments(name, options=tuple(forward_options(ports, address)))
    info, where, identity = prepare([login], timeout)
    for here, there in ports:
        note(f"{address}:{here} leads to port {there} of session {name}")
    note("Ctrl-C ends it")
    replace_by(command(login, info, where, identity))


def forward_options(ports: Iterable[tuple[int, int]], address: str) -> list[str]:
    """Options of ssh: no command, and these ports; it ends where it cannot have one of them."""
    host = f"[{address}]" if ":" in address else address
    leading = [word for here, there in ports for word in ("-L", f"{host}:{here}:localhost:{there}")]
    return ["-N", "-o", "ExitOnForwardFailure=yes", *leading]
