"""`netvps config-ssh`: plain ssh, scp, rsync and editors reach one's sessions without options and without questions."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netvps.cli.access import gateway
from netvps.cli.access.ssh_config import DOMAIN, MOST_SESSIONS, Gateway
from netvps.cli.access.ssh_files import SshFiles
from netvps.cli.server import connect
from netvps.cli.server.contexts import ENVIRONMENT
from netvps.cli.ui.output import note
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.cli.server.contexts import Context
    from netvps.client import Client

option = click.option(
    "--config-ssh/--no-config-ssh",
    "config",
    default=True,
    help="Set up plain ssh to your sessions, too (the default; see `netvps config-ssh`).",
)


@click.command("config-ssh")
@click.option("--remove", is_flag=True, help="Remove all of it, and let no other command set it up.")
@click.option("--unless-removed", is_flag=True, help="Do nothing if it was removed.")
@click.option(
    "--proxy/--no-proxy",
    default=None,
    help="Reach NAME.OWNER.nv.internal by `netvps ssh-proxy HOST`: faster, and ssh goes on when the server restarts.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def config_ssh(remove: bool, unless_removed: bool, proxy: bool | None, quiet: bool) -> None:
    """Set up plain ssh to your sessions: `ssh NAME.netvps`, and `ssh NAME@HOST -p PORT` without options.

    `ssh NAME.OWNER.nv.internal` is encrypted to the session itself: the gateway leads there and cannot read it.

    One line at the top of ~/.ssh/config includes ~/.ssh/netvps/config, which names the gateway, its host key and your
    key; nothing else of yours is changed. scp, sftp, rsync, git and editors go by it, too.

    `up`, `create` and `login` do this by themselves, unless they have --no-config-ssh.

    Example: netvps config-ssh && ssh dev1.netvps
    """
    files = SshFiles()
    if remove:
        found = files.remove()
        note("removed ~/.ssh/netvps and its line in ~/.ssh/config" if found else "there was nothing to remove")
        return
    if unless_removed and files.switched_off():
        return
    where = connect.context()
    with connect.dial(where) as client:
        put = configure(client, where, files, proxy=proxy)
    if not quiet:
        note(f"{files.own} includes {files.files.config}: {_works(put)}")


def configure(client: Client, where: Context, files: SshFiles, *added: str, proxy: bool | None = None) -> Gateway:
    """Writes the files for the server of a context; `added` sessions alone are added where the rest is known.

    `proxy`: whether sessions are reached by `netvps ssh-proxy`; None: as before.

    Raises NetvpsError: what the server does, and for files that cannot be written.
    """
    info = client.server_info()
    host, port = gateway.address(info, where)
    before = files.known().get(where.name)
    if added and before is not None:
        sessions = (*before.sessions, *added)
    else:
        sessions = (*(found.name for found in client.list_sessions()), *added)
    put = Gateway(
        context=where.name,
        host=host,
        port=port,
        names=_names(host, info.names, where),
        host_key=" ".join(info.ssh_host_key.split()[:2]),
        identity=_identity(client, where, files, before.identity if before and added else ""),
        sessions=tuple(dict.fromkeys(sessions))[-MOST_SESSIONS:],
        host_ca=" ".join(info.ssh_host_ca.split()[:2]),
        proxy=(before is not None and before.proxy) if proxy is None else proxy,
    )
    files.put(put)
    return put


def set_up(client: Client, where: Context, *sessions: str, config: bool = True) -> None:
    """What `create` and `login` do beside their own work: they succeed where this fails, and say why it did.

    Without `config`, or after --remove, no file is written; for sessions, a key of this person is registered at least.
    """
    from netvps.cli.access.local_keys import any_registered, register

    if where.name == ENVIRONMENT:  # of a job that leaves nothing behind
        return
    files = SshFiles()
    new = where.name not in files.known()
    try:
        if not config or files.switched_off():
            if sessions and not any_registered(client):
                register(client)
            return
        put = configure(client, where, files, *sessions)
    except NetvpsError as error:
        note(f"plain ssh is not set up: {error}; `netvps config-ssh` tries again")
        return
    if new:
        note(f"{files.own} includes {files.files.config} now (netvps config-ssh --remove undoes it): {_works(put)}")


def refresh(where: Context) -> None:
    """Follows a server that listens elsewhere now, or has another host key, where it was set up. Says nothing."""
    files = SshFiles()
    with suppress(NetvpsError):
        if files.switched_off() or where.name not in files.known():
            return
        with connect.dial(where) as client:
            configure(client, where, files)


def forget(where: Context, sessions: Sequence[str]) -> None:
    """Removes sessions that are gone from the files."""
    files = SshFiles()
    with suppress(NetvpsError):
        if (known := files.known().get(where.name)) and set(known.sessions) & set(sessions):
            left = tuple(name for name in known.sessions if name not in sessions)
            files.put(replace(known, sessions=left))


def _works(put: Gateway) -> str:
    name = put.sessions[-1] if put.sessions else "NAME"
    return f"ssh {name}.{DOMAIN}, or ssh {name}@{put.host} -p {put.port}"


def _names(host: str, served: tuple[str, ...], where: Context) -> tuple[str, ...]:
    """What people type for the gateway; on its own machine they may say localhost, or the machine's name."""
    here = ("localhost", socket.gethostname()) if where.address.startswith("unix:") else ()
    names = dict.fromkeys((host, *here, *served))
    return tuple(name for name in names if name and all(c.isalnum() or c in ".-:" for c in name))


def _identity(client: Client, where: Context, files: SshFiles, before: str) -> str:
    """The file that names the key to offer; the one `before`, if the server knows it still."""
    from netvps.cli.access.local_keys import read, usable_key
    from netvps.cli.server.contexts import write_agent_key

    registered = {key.fingerprint for key in client.list_ssh_keys()}
    if before:
        with suppress(NetvpsError):
            if read(Path(before).with_suffix(".pub")).fingerprint in registered:
                return before
    with files.locked():
        key = usable_key(client, registered)
    return str(key.file or write_agent_key(where.name, f"{key.public.text}\n"))
