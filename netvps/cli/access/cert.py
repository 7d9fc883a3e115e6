"""`netvps cert`: signs a key for a machine that has ssh, and not netvps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netvps.cli.access import gateway
from netvps.cli.access.local_keys import read
from netvps.cli.access.ssh_config import NO_SESSION, authority_line
from netvps.cli.server import connect
from netvps.cli.ui.output import emit, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import duration_words
from netvps.domain.access.ssh_key import PublicKey
from netvps.errors import ConfigError
from netvps.files import write_file

if TYPE_CHECKING:
    from netvps.cli.server.contexts import Context
    from netvps.domain.server import ServerInfo


@click.command("cert")
@click.argument("file", default="", metavar="[KEY.pub]")
@click.option("--ttl", type=DURATION, default="8h", show_default=True, metavar="TIME", help="How long it logs in.")
@click.option("--known-hosts", is_flag=True, help="Print the lines of a known_hosts file instead.")
def cert(file: str, ttl: float, known_hosts: bool) -> None:
    """Sign an SSH key, so that it logs in as you from a machine without netvps.

    KEY.pub is signed into KEY-cert.pub beside it, which ssh offers with the key; '-' reads the key from stdin and
    prints the certificate. The key is registered nowhere, and only the removal of your user ends a certificate earlier.

    \b
    Examples: ssh other cat .ssh/id_ed25519.pub | netvps cert - | ssh other tee .ssh/id_ed25519-cert.pub
              netvps cert --known-hosts | ssh other tee -a .ssh/known_hosts
    """  # noqa: D301 — Click means the character
    if known_hosts == bool(file):
        raise click.UsageError("give KEY.pub to be signed, '-' for stdin, or --known-hosts")
    where = connect.context()
    with connect.dial(where) as client:
        if known_hosts:
            emit(known_hosts_lines(client.server_info(), where))
            return
        key = PublicKey.parse(sys.stdin.read(), "stdin") if file == "-" else read(Path(file).expanduser())
        certificate = client.issue_ssh_certificate(key.text, ttl)
        host, port = gateway.address(client.server_info(), where)
    if file == "-":
        emit(certificate)
        return
    signed = Path(file).expanduser().with_name(f"{Path(file).name.removesuffix('.pub')}-cert.pub")
    try:
        write_file(signed, f"{certificate}\n".encode(), 0o600)
    except OSError as error:
        raise ConfigError(f"{signed} cannot be written: {error.strerror}; make its folder writable") from None
    emit(str(signed))
    note(f"it logs in for {duration_words(ttl)}: ssh -J {NO_SESSION}@{host}:{port} root@NAME.OWNER.nv.internal")


def known_hosts_lines(info: ServerInfo, where: Context) -> str:
    """The gateway's key, and the CA of the sessions' host keys, as a known_hosts file has them."""
    host, port = gateway.address(info, where)
    key = " ".join(info.ssh_host_key.split()[:2])
    lines = [f"[{host}]:{port} {key}"]
    if info.ssh_host_ca:
        lines.append(authority_line(" ".join(info.ssh_host_ca.split()[:2])).rstrip())
    return "\n".join(lines)
