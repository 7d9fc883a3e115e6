"""The certificate of `netvps ssh`: signed by the server for five minutes, for a key of the CLI's own."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from netvps.cli.access.local_keys import generate, read
from netvps.cli.access.ssh_files import SshFiles
from netvps.cli.server.contexts import certificate_file, config_folder, write_private
from netvps.errors import Exhausted

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.cli.server.contexts import Context
    from netvps.client import Client

_KEY: Final = "cli_ed25519"
_FRESH: Final = 240.0
"""Seconds in which a certificate of five minutes surely logs in."""


def certificate_options(client: Client, where: Context) -> list[str]:
    """Has the CLI's key signed, and returns the options of ssh that name it and nothing else.

    The key is nowhere registered, so that its file is worth nothing without access to the API. Raises NetvpsError.
    """
    private = config_folder() / _KEY
    public = private.with_suffix(".pub")
    if not public.exists() or not private.exists():
        with SshFiles().locked():
            if not public.exists() or not private.exists():
                generate(private)
    certificate = certificate_file(where.name)
    try:
        write_private(certificate, client.issue_ssh_certificate(read(public).text) + "\n")
    except Exhausted:
        if not _is_fresh(certificate):
            raise
    # ssh takes the file's name for a pattern with tokens.
    key, signed = (str(file).replace("%", "%%") for file in (private, certificate))
    return ["-o", "IdentitiesOnly=yes", "-o", f'CertificateFile="{signed}"', "-i", key]


def _is_fresh(certificate: Path) -> bool:
    with suppress(OSError):
        return 0 <= time.time() - certificate.stat().st_mtime < _FRESH
    return False
