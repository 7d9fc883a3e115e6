"""The TLS context of a certificate in files, which are read again when they change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import structlog

from netvps.errors import ConfigError

log = structlog.get_logger()

LOOK_SECONDS: Final = 10.0
"""Interval at which changed files are found."""


class TlsFiles:
    """A certificate chain and its key, in PEM form."""

    def __init__(self, certificate: Path, key: Path, flags: str = "--tls-cert and --tls-key") -> None:
        """Reads them; `flags` name the settings in errors. Raises ConfigError."""
        self._certificate, self._key, self._flags = certificate, key, flags
        self._seen = self._stamps()
        self._current = self._read()
        self.context = self._read()
        """For a listener. Each handshake gets the certificate that was read last; open connections keep theirs."""
        self.context.sni_callback = self._choose  # also called for a client that sends no name

    async def follow(self) -> None:
        """Reads the files again when they change, until cancelled. The old certificate stays where they are broken."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        if (now := self._stamps()) == self._seen:
            return
        self._seen = now
        try:
            self._current = self._read()
            log.info("the certificate was read again", file=str(self._certificate))
        except ConfigError as error:
            log.warning("the certificate cannot be read again; the old one stays", error=error.message)

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        """A context of its own: one that failed to read a pair would have half of it. Raises ConfigError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=self._no_password)
        except OSError as error:  # ssl.SSLError is one, too
            raise ConfigError(
                f"{self._flags}: {self._certificate}, {self._key}: {error.strerror or error};"
                " give a matching pair in PEM form"
            ) from None
        return context

    def _no_password(self) -> str:
        raise ConfigError(
            f"{self._flags}: {self._key} has a passphrase: give a key without one, in a file that only you can read"
        )

    def _stamps(self) -> list[tuple[int, int]]:
        found = []
        for file in (self._certificate, self._key):
            try:
                stat = file.stat()
            except OSError:
                continue
            found.append((stat.st_mtime_ns, stat.st_ino))
        return found
