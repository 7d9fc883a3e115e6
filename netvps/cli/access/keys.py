"""`netvps key`: the SSH keys that log in to one's sessions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netvps.cli.help.completion import complete_key
from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import USER, child_of_user
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.display.units import age

if TYPE_CHECKING:
    from netvps.domain.access.accounts import SshKey

_user = click.option("--user", type=USER, default="", metavar="USER", help="Those of another user (admins only).")


def _view() -> View[SshKey]:
    from netvps.cli.session.sessions import to_json

    return View(
        name=lambda key: key.fingerprint,
        columns=(
            Column("FINGERPRINT", lambda key: key.fingerprint),
            Column("TYPE", lambda key: key.public_key.partition(" ")[0]),
            Column("TITLE", lambda key: key.title),
            Column("AGE", lambda key: age(key.create_time)),
            Column("UID", lambda key: key.uid, wide=True),
            Column("KEY", lambda key: key.public_key, wide=True),
        ),
        json=to_json,
    )


@click.group("key")
def key() -> None:
    """Your SSH keys; a change reaches running sessions at once."""


@key.command("add")
@click.argument("file", default="", metavar="[FILE]")
@click.option("--title", default="", help="A name for it; by default the comment of the key.")
@_user
@format_option
def add(file: str, title: str, user: str, form: str) -> None:
    """Register a public key: FILE, '-' for stdin, or by default the first that is found in ~/.ssh.

    Example: netvps key add ~/.ssh/id_ed25519.pub
    """
    from netvps.domain.access.ssh_key import PublicKey

    parsed = PublicKey.parse(_text(file), file or "key")
    made = client().create_ssh_key(f"{parsed.text} {parsed.comment}".strip(), title=title, user=user)
    if form in {"table", "wide"}:
        emit(made.fingerprint)
        note("the key logs in to your sessions from now on")
    else:
        _view().print_one(made, form)


@key.command("ls")
@_user
@format_option
def ls(user: str, form: str) -> None:
    """List registered keys."""
    found = list(client().list_ssh_keys(user))
    if not found and form in {"table", "wide"}:
        note("no keys yet; `netvps key add` registers yours")
    _view().print_all(found, form)


@key.command("rm")
@click.argument("keys", nargs=-1, required=True, metavar="FINGERPRINT|UID...", shell_complete=complete_key)
@_user
def rm(keys: tuple[str, ...], user: str) -> None:
    """Revoke keys; they stop working in running sessions too.

    Example: netvps key rm SHA256:…
    """
    connection = client()
    for given in keys:
        owner, uid = child_of_user(given, "sshKeys")
        emit(connection.delete_ssh_key(uid, user=owner or user).fingerprint)


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    if not file:
        from netvps.cli.access.local_keys import candidates

        for origin, found in candidates():
            note(f"taking {found.fingerprint} ({origin})")
            return f"{found.text} {found.comment}"
        raise click.UsageError("there is no key in ~/.ssh: name a FILE, or make one with ssh-keygen")
    try:
        return Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise click.BadParameter(f"{file} cannot be read: {reason}", param_hint="FILE") from None
