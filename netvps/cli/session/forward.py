"""`netvps forward`: ports and Unix sockets of this machine that lead to those of a session, over ssh."""

from __future__ import annotations

import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.access.ssh import command, prepare, replace_by
from netvps.cli.access.ssh_arguments import SshArguments
from netvps.cli.access.udp_relay import SUBSYSTEM
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import note
from netvps.cli.ui.parse import DURATION
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_LAST_PORT: Final = 65535
_PATH: Final = re.compile(r"/[^:\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Forward:
    """What leads where: ports, as decimal numbers, or absolute paths of Unix sockets."""

    here: str
    there: str
    udp: bool = False


class Forwards(click.ParamType[Forward]):
    """PORT, or LOCAL:REMOTE, with /udp behind them; LOCAL and REMOTE may be paths."""

    name = "PORT[:PORT][/udp]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Forward:
        """What is forwarded."""
        if isinstance(value, Forward):
            return value
        text = str(value)
        udp = text.endswith("/udp") and not text.startswith("/") and ":/" not in text
        here, colon, there = text.removesuffix("/udp").partition(":") if udp else text.partition(":")
        there = there if colon else here
        ends = [self._port(end) or (not udp and bool(colon) and bool(_PATH.fullmatch(end))) for end in (here, there)]
        if not all(ends):
            example = "give for example 8080:80, 53/udp or 8080:/run/app.sock"
            self.fail(f"{value!r} is not PORT or LOCAL:REMOTE: {example}", param, ctx)
        return Forward(here, there, udp)

    def _port(self, end: str) -> bool:
        return end.isdecimal() and end.isascii() and 0 < int(end) <= _LAST_PORT


@click.command("forward")
@click.argument("name", type=SESSION)
@click.argument("forwards", nargs=-1, required=True, type=Forwards(), metavar="PORT[:PORT][/udp]...")
@click.option("--address", default="127.0.0.1", show_default=True, help="Listen on this address of this machine.")
@click.option("--timeout", type=DURATION, default="2m", show_default=True, help="How long to wait for a start.")
def forward(name: str, forwards: tuple[Forward, ...], address: str, timeout: float) -> None:
    """Make ports of a session reachable on this machine, until Ctrl-C.

    PORT is the same on both sides; LOCAL:REMOTE are the port here and the port of the session, on its loopback. /udp
    behind them forwards datagrams. LOCAL and REMOTE may also be absolute paths of Unix sockets.

    \b
    Examples: netvps forward dev1 8080
              netvps forward dev1 8080:80 5432 5353:53/udp
              netvps forward dev1 /tmp/docker.sock:/run/docker.sock
    """  # noqa: D301 — Click means the character
    for each in forwards:
        _require_free(each.here)
    datagrams = [(int(each.here), int(each.there)) for each in forwards if each.udp]
    options = tuple(forward_options(forwards, address))
    ending = ("-s",) if datagrams else ("-N",)
    login = SshArguments(name, options=(*options, *ending), command=(SUBSYSTEM,) if datagrams else ())
    info, where, identity = prepare([login], timeout)
    for each in forwards:
        here = each.here if each.here.startswith("/") else f"{address}:{each.here}"
        there = each.there if each.there.startswith("/") else f"{'UDP port' if each.udp else 'port'} {each.there}"
        note(f"{here} leads to {there} of session {name}")
    note("Ctrl-C ends it")
    line = command(login, info, where, identity)
    if not datagrams:
        replace_by(line)
    from netvps.cli.access.udp_relay import run

    click.get_current_context().exit(run([_program(line[0]), *line[1:]], address, datagrams))


def forward_options(forwards: Iterable[Forward], address: str) -> list[str]:
    """Options of ssh for TCP ports and Unix sockets; it ends where it cannot have one of them."""
    host = f"[{address}]" if ":" in address else address
    leading: list[str] = []
    for each in forwards:
        here = each.here if each.here.startswith("/") else f"{host}:{each.here}"
        there = each.there if each.there.startswith("/") else f"localhost:{each.there}"
        leading += [] if each.udp else ["-L", f"{here}:{there}"]
    # A socket that an earlier ssh left is in its way; what is no socket was refused before.
    return ["-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes", *leading]


def _require_free(here: str) -> None:
    """Raises ConfigError where a file that is no socket has the path."""
    if not here.startswith("/"):
        return
    try:
        found = Path(here).lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{here} exists and is no socket: give another path")


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise ConfigError(f"there is no {name} on this machine: install it (Debian: apt install openssh-client)")
    return program
