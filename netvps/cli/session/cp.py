"""`netvps cp`: files to, from and between sessions, by the system's own scp through the gateway."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.access import gateway
from netvps.cli.access.ssh import host_options, prepare, replace_by
from netvps.cli.access.ssh_arguments import SshArguments
from netvps.cli.ui.parse import DURATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.cli.server.contexts import Context
    from netvps.domain.server import ServerInfo

_REMOTE: Final = re.compile(r"(?:(?P<user>[^@:/]+)@)?(?:sessions/)?(?P<name>[^@:/]+):(?P<path>.*)", re.DOTALL)


@click.command("cp")
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with all that is in them.")
@click.option("-p", "--preserve", is_flag=True, help="Keep times and modes.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--timeout", type=DURATION, default="2m", show_default=True, help="How long to wait for a start.")
@click.argument("places", nargs=-1, required=True, metavar="SOURCE... TARGET", type=click.Path())
def cp(*, places: tuple[str, ...], recursive: bool, preserve: bool, quiet: bool, timeout: float) -> None:
    """Copy files to a session, from it, or between two.

    NAME:PATH is a file of a session, USER@NAME:PATH as that Unix user; PATH without '/' first is in the home folder.

    \b
    Examples: netvps cp notes.txt dev1:
              netvps cp -r dev1:/etc/nginx .
    """  # noqa: D301 — Click means the character
    *sources, target = places
    if not sources:
        raise click.UsageError("TARGET is missing: give what to copy, and where to, for example notes.txt dev1:")
    logins = [login for place in places if (login := session_of(place)) is not None]
    if not logins:
        raise click.UsageError(f"no session is named: write NAME:PATH, for example {sources[0]} dev1:")
    info, where, identity = prepare(logins, timeout)
    letters = [letter for letter, wanted in (("-r", recursive), ("-p", preserve), ("-q", quiet)) if wanted]
    replace_by([*scp_command(info, where, identity), *letters, "--", *scp_places([*sources, target], info, where)])


def session_of(place: str) -> SshArguments | None:
    """The session, and the user there, of NAME:PATH; None for a file of this machine."""
    match = _REMOTE.fullmatch(place)
    return SshArguments(match["name"], match["user"] or "") if match else None


def scp_command(info: ServerInfo, where: Context, identity: Sequence[str]) -> list[str]:
    """The start of the scp command line; between two sessions the bytes pass through this machine."""
    _, port = gateway.address(info, where)
    return ["scp", "-3", "-P", str(port), *host_options(info, where), *identity]


def scp_places(places: Sequence[str], info: ServerInfo, where: Context) -> list[str]:
    """Sources and target in the form of scp: sessions are users of the gateway."""
    host, _ = gateway.address(info, where)
    host = f"[{host}]" if ":" in host else host
    found = []
    for place in places:
        match, login = _REMOTE.fullmatch(place), session_of(place)
        # "./" keeps scp from taking the name of a local file for an option or for a host.
        local = place if place.startswith(("/", ".")) else f"./{place}"
        found.append(f"{login.login}@{host}:{match['path']}" if match and login else local)
    return found
