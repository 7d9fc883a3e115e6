"""`netvps login` and `logout`: a server gets known by its CA's fingerprint, and one's API key is kept for it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netvps.cli.access import config_ssh
from netvps.cli.access.ssh_files import SshFiles
from netvps.cli.help.completion import complete_context
from netvps.cli.server import connect, contexts
from netvps.cli.ui.output import emit, note
from netvps.domain.names import label_from
from netvps.errors import NotPermitted, Unauthenticated

if TYPE_CHECKING:
    from netvps.domain.server import ServerInfo

PORT = "7443"


@click.command("login")
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--name", default="", help="Name of the context; by default the host.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False),
    help="File with the API key; by default it is asked for.",
)
@click.option(
    "--ca-fingerprint",
    default="",
    metavar="SHA256",
    help="The CA's fingerprint, if you have it; nothing is asked then.",
)
@click.option("-y", "--yes", is_flag=True, help="Trust the server as it answers now, without asking.")
@click.option("--sso", is_flag=True, help="Log in with your company's account, in a browser, instead of an API key.")
@click.option(
    "--ssh-key",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="With --sso: your public SSH key; by default one of ~/.ssh or your ssh-agent, or a new one.",
)
@config_ssh.option
def login(
    *,
    host: str,
    name: str,
    key_file: str | None,
    ca_fingerprint: str,
    yes: bool,
    sso: bool,
    ssh_key: str | None,
    config: bool,
) -> None:
    """Remember a server and your API key, and talk to it from now on.

    The key comes from a prompt, from stdin, or from --key-file, never from the command line. With --sso, the server
    makes one for you once you confirm a code in a browser.

    Example: netvps login gateway.example
    """
    if (sso and key_file) or (ssh_key and not sso):
        raise click.UsageError("--sso needs no --key-file, and --ssh-key is for --sso: choose one way to log in")
    address = with_port(host)
    name = name or label_from(address.rpartition(":")[0], "server")
    info = server_info(address)
    if sso and not info.oidc_issuer:
        raise NotPermitted(
            f"{address} has no issuer of company accounts: log in with an API key, with netvps login {host}"
        )
    trust(address, fingerprint(info.ca_certificate), ca_fingerprint, yes=yes)
    context = contexts.Context(name, address, info.ca_certificate)
    if sso:
        from netvps.cli.people.sso import log_in

        contexts.check(context)
        secret, ends = log_in(context, ssh_key)
        note(f"the API key works until {ends:%Y-%m-%d %H:%M} UTC; log in again then")
    else:
        if info.oidc_issuer and not key_file:
            note(f"to log in with your account at {info.oidc_issuer} instead: netvps login {host} --sso")
        secret = _api_key(key_file)
    context = replace(context, api_key=secret)
    with connect.dial(context) as client:
        me = client.get_user("me")
        contexts.save(context)
        contexts.use(name)
        emit(name)
        config_ssh.set_up(client, context, config=config)
    note(f"you are {me.name} ({me.role.lower()}) at {address}; next: netvps create")


@click.command("logout")
@click.argument("name", default="", shell_complete=complete_context)
def logout(name: str) -> None:
    """Forget a context (by default the one in force) and its API key.

    The key itself goes on working until it is revoked: `netvps user api-key revoke KID`.
    """
    name = name or contexts.resolve(click.get_current_context().find_root().obj).name
    contexts.forget(name)
    SshFiles().drop(name)
    emit(name)
    note(f"forgot {name}; commands talk to {contexts.chosen()} now")


def with_port(host: str) -> str:
    """HOST:PORT of what was typed; an IPv6 address keeps, or gets, its brackets."""
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    head, colon, port = host.rpartition(":")
    if colon and not head.endswith(":") and port.isdecimal() and not host.endswith("]"):
        return f"{head}:{port}"
    if colon and not host.endswith("]"):
        raise click.BadParameter(f"{host!r} is not HOST or HOST:PORT", param_hint="HOST")
    return f"{host}:{PORT}"


def fingerprint(certificate: str) -> str:
    """SHA-256 of a certificate (PEM) in hex."""
    import hashlib
    import ssl

    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def server_info(address: str) -> ServerInfo:
    """What the server at an address says of itself, which nothing vouches for yet."""
    from netvps import client

    return client.fetch_server_info(address)


def trust(address: str, seen: str, expected: str, *, yes: bool) -> None:
    """Compares fingerprints of the CA that a server shows, or has the person compare them.

    Raises Unauthenticated, Abort or a usage error.
    """
    if expected:
        if expected.replace(":", "").lower().removeprefix("sha256") != seen:
            raise Unauthenticated(
                f"{address} shows a CA with fingerprint {seen}, not {expected}: this is another server, or another"
                " machine is in between; nothing was sent to it"
            )
        return
    note(f"{address} shows a CA with SHA-256 fingerprint")
    note(f"  {seen}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to compare the fingerprint: give it with --ca-fingerprint, or trust it with --yes"
        )
    note("compare it with what `netvps doctor` prints on the server itself")
    click.confirm("Is it the same?", abort=True, err=True)


def _api_key(file: str | None) -> str:
    """The key from its file, from a pipe, or from a prompt that shows nothing."""
    if file:
        key = Path(file).read_text(encoding="utf-8", errors="replace").strip()
    elif sys.stdin.isatty():
        key = click.prompt("API key", hide_input=True, err=True).strip()
    else:
        key = sys.stdin.readline().strip()
    if not key.startswith("nv_") or not key.isascii() or not key.isprintable():
        raise click.UsageError(
            "that is not an API key: it begins with nv_; `netvps user api-key` on the server makes one"
        )
    return key
