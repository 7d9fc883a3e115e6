"""`netvps register`: a person makes their own account on a server, by an invitation or where it is open."""

from __future__ import annotations

import getpass
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.access import config_ssh
from netvps.cli.access.login import fingerprint, server_info, trust, with_port
from netvps.cli.server import connect, contexts
from netvps.cli.ui.arguments import USER
from netvps.cli.ui.output import emit, note
from netvps.domain.names import USER_NAME_MAX, label_from
from netvps.domain.server import Registration
from netvps.errors import NotPermitted

if TYPE_CHECKING:
    from netvps.domain.access.ssh_key import PublicKey

_TOKEN: Final = re.compile(r"nvi_\w+_[0-9a-f]{64}")
"""Its last part is the fingerprint of the CA."""


@click.command("register")
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--user", "user", type=USER, default="", metavar="NAME", help="Your name there; by default as here.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="File with the invitation's token; by default it is asked for.")  # fmt: skip
@click.option("--key", "key_file", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Your public SSH key; by default one of ~/.ssh or your ssh-agent, or a new one.")  # fmt: skip
@click.option("--name", default="", help="Name of the context; by default the host.")
@click.option("--ca-fingerprint", default="", metavar="SHA256",
              help="The CA's fingerprint, where you have no invitation, which contains it.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Without an invitation: trust the server as it answers now.")
@config_ssh.option
def register(
    *,
    host: str,
    user: str,
    token_file: str | None,
    key_file: str | None,
    name: str,
    ca_fingerprint: str,
    yes: bool,
    config: bool,
) -> None:
    """Make yourself an account on a server, with the token of an invitation, and talk to it from now on.

    The token comes from a prompt, from stdin, or from --token-file, never from the command line. It also says which
    server it is for. A server that is open needs none.

    Example: netvps register gateway.example --user ann
    """
    address = with_port(host)
    name = name or label_from(address.rpartition(":")[0], "server")
    user = user or label_from(getpass.getuser(), "user", USER_NAME_MAX)
    info = server_info(address)
    if info.registration is Registration.CLOSED:
        raise NotPermitted(
            f"{address} is closed to registration: ask one of its admins for an account and an API key, then: "
            f"netvps login {host}"
        )
    token = _token(token_file, required=info.registration is not Registration.OPEN)
    trust(address, fingerprint(info.ca_certificate), token.rpartition("_")[2] or ca_fingerprint, yes=yes)
    server = contexts.Context(name, address, info.ca_certificate)
    contexts.check(server)
    key = own_key(key_file)
    with connect.dial(server) as stranger:
        made, secret = stranger.register_user(user, f"{key.text} {key.comment}".strip(), token)
    server = contexts.Context(name, address, info.ca_certificate, secret)
    contexts.save(server)
    contexts.use(name)
    emit(made.name)
    with connect.dial(server) as client:
        config_ssh.set_up(client, server, config=config)
    note(f"you are {made.name} ({made.role.lower()}) at {address}; next: netvps create")


def _token(file: str | None, *, required: bool) -> str:
    """The token from its file, from a pipe, or from a prompt that shows nothing; empty only if that is permitted."""
    if file:
        token = Path(file).read_text(encoding="utf-8", errors="replace")
    elif sys.stdin.isatty():
        hint = "" if required else " (empty if you have none)"
        token = click.prompt(
            f"Token of the invitation{hint}", hide_input=True, err=True, default="", show_default=False
        )
    else:
        token = sys.stdin.readline()
    token = token.strip()
    if (required or token) and not _TOKEN.fullmatch(token):
        raise click.UsageError(
            "that is not the token of an invitation: it begins with nvi_; ask who invited you for the whole of it"
        )
    return token


def own_key(file: str | None) -> PublicKey:
    """The public half of a key that this person can use here."""
    from netvps.cli.access.local_keys import generate, local_keys, read

    if file:
        return read(Path(file))
    found = next((key for key in local_keys() if not key.prompts), None)
    if found is not None:
        note(f"taking your SSH key {found.public.fingerprint} ({found.origin})")
        return found.public
    made = generate()
    note(f"made an SSH key for you, {made.with_suffix('')}")
    return read(made)
