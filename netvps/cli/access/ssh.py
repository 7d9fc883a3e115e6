"""`netvps ssh`: runs the system's own ssh with the session's address and the host key to expect."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from netvps.cli.access import gateway
from netvps.cli.access.local_keys import matching_agent_key, matching_files, own_files
from netvps.cli.access.ssh_arguments import SshArguments
from netvps.cli.access.ssh_certificate import certificate_options
from netvps.cli.help.completion import complete_session
from netvps.cli.server import connect
from netvps.cli.server.contexts import write_agent_key, write_known_hosts
from netvps.cli.session.choice import pick
from netvps.cli.sharing import kept_terminal
from netvps.cli.ui.parse import DURATION
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.names import SshLogin
from netvps.domain.session.lifecycle import TRANSIENT
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.errors import ConfigError, Exhausted, InvalidInput, Unavailable, WrongState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from netvps.cli.server.contexts import Context
    from netvps.client import Client
    from netvps.domain.server import ServerInfo

_HELP = """Log in to a session, or run a command in it.

Any option of ssh can be given (-L, -R, -N, -t, …), before or after NAME.
Without NAME it is your only session, or the one that you pick from a list.
You are root there, unless you say who: -l USER or USER@NAME.
The exit code is that of the command, or 255 if the connection was lost.

With --persist the terminal outlives the connection: log in with --persist again, and it is as you left it.
It ends with its shell.

\b
Examples: netvps ssh dev1
          netvps ssh dev1 -L 8080:localhost:80
          netvps ssh dev1 -- uname -a
          netvps ssh dev1 --terminal build
          netvps ssh bobs-session.bob --watch
"""


@click.command(
    "ssh",
    help=_HELP,
    short_help="log in to a session",
    options_metavar="[SSH OPTIONS]",
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],
    },
)
@click.option("--timeout", type=DURATION, default="2m", show_default=True, help="How long to wait for a start.")
@kept_terminal.options
@click.argument(
    "words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME] [COMMAND]...", shell_complete=complete_session
)
def ssh(
    *,
    words: tuple[str, ...],
    timeout: float,
    persist: bool,
    terminal: str,
    lists: bool,
    watch: bool,
) -> None:
    """Replaces this process by ssh."""
    kept = kept_terminal.words_of(persist=persist, terminal=terminal, lists=lists, watch=watch)
    arguments = SshArguments.parse([*kept, *words], pick)
    info, where, identity = prepare([arguments], timeout if arguments.timeout is None else arguments.timeout)
    replace_by(command(arguments, info, where, identity))


def prepare(logins: Sequence[SshArguments], timeout: float) -> tuple[ServerInfo, Context, list[str]]:
    """Waits until each session takes logins; returns the server, its context, and options that name keys."""
    for login in logins:
        try:
            SshLogin.parse(login.login)
        except InvalidInput as error:
            raise click.BadParameter(error.violations[0].description, param_hint="NAME") from None
    where = connect.context()
    with connect.dial(where) as client:
        sessions = [_ready(client, login.session, timeout) for login in logins]
        info = client.server_info()
        return info, where, _identity(client, where, sessions)


def command(arguments: SshArguments, info: ServerInfo, where: Context, identity: Sequence[str]) -> list[str]:
    """The ssh command line, and the file of host keys that it refers to; `identity` are options that name keys."""
    host, port = gateway.address(info, where)
    fixed = ["ssh", "-p", str(port), *host_options(info, where), *identity, "-l", arguments.login]
    end = ["--", *arguments.command] if arguments.command else []
    return [*fixed, *arguments.options, host, *end]


def host_options(info: ServerInfo, where: Context) -> list[str]:
    """Options by which ssh and scp expect the gateway's own host key, and the file that they refer to."""
    alias = f"netvps-{where.name}"
    key = " ".join(info.ssh_host_key.split()[:2])
    known = write_known_hosts(where.name, f"{alias} {key}\n")
    options = {
        "HostKeyAlias": alias,
        "UserKnownHostsFile": f'"{known}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _identity(client: Client, where: Context, sessions: Sequence[Session]) -> list[str]:
    """Options that name what to log in with: a certificate that the server just signed, which needs no registered key.

    Where that cannot be had (an older server, no ssh-keygen, a limit), the keys that the server accepts.
    """
    try:
        return certificate_options(client, where)
    except (WrongState, Exhausted, ConfigError):
        accepted = {key.fingerprint for key in client.list_ssh_keys()}
        lines = (line for session in sessions for line in session.spec.authorized_keys)
        accepted |= {PublicKey.parse(line).fingerprint for line in lines}
        return _keys(where, accepted)


def _keys(where: Context, accepted: Collection[str]) -> list[str]:
    """Options that name the keys to offer: those that get in, if they are known.

    An ssh-agent may hold more keys than the gateway lets anybody try, and ssh offers those first.
    """
    files = matching_files(accepted)
    if not files and (key := matching_agent_key(accepted)):
        files = [write_agent_key(where.name, f"{key.text}\n")]
    only = ["-o", "IdentitiesOnly=yes"] if files else []
    return [*only, *(word for file in files or own_files() for word in ("-i", str(file)))]


def _ready(client: Client, name: str, timeout: float) -> Session:
    """Waits for a session that is on its way up. Raises the error with the remedy for one that is not."""
    session = client.get_session(name)
    if session.desired is DesiredState.RUNNING and session.state in TRANSIENT:
        from netvps.cli.ui.waiting import require, until_settled

        (session,) = until_settled(client, [session], timeout)
        require(session, name)
    if error := refusal(session, name):
        raise error
    return session


def refusal(session: Session, name: str) -> WrongState | Unavailable | None:
    """Why a session takes no logins now, and what to do about it; None if it does."""
    match session.state:
        case SessionState.RUNNING | SessionState.PAUSED:  # a login resumes a paused one
            return None
        case SessionState.UNREACHABLE:
            return Unavailable(
                f"session {name} cannot be reached: {session.message}; `netvps runner ls` shows its runner"
            )
        case SessionState.FAILED:
            return WrongState(f"session {name} failed: {session.message}; `netvps start {name}` tries again")
        case SessionState.DELETED:
            return WrongState(f"session {name} is gone; `netvps create` makes a new one")
    if session.desired is DesiredState.DELETED:
        return WrongState(f"session {name} is being removed; `netvps create` makes a new one")
    return WrongState(f"session {name} is {session.state}; `netvps start {name}` brings it up")


def replace_by(line: list[str]) -> NoReturn:
    """Becomes ssh, or scp."""
    program = shutil.which(line[0])
    if program is None:
        raise ConfigError(f"there is no {line[0]} on this machine: install it (Debian: apt install openssh-client)")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, line)  # noqa: S606 — no shell is what we want
