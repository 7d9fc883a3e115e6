"""Certificates in files: a new one is taken, a broken one is not, and no connection breaks."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps.adapters.ca.authority import Authority
from netvps.adapters.ca.opening import open_ca
from netvps.errors import ConfigError
from netvps.process import tls_files
from netvps.process.tls_files import TlsFiles
from netvps.tasks import Tasks
from tests.support.patience import PATIENCE


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return open_ca(tmp_path / "ca", "cluster", lambda: datetime.now(UTC))


def write(ca: Authority, folder: Path) -> tuple[Path, Path]:
    """A new pair."""
    own = ca.server_certificate(("apps.example",))
    (folder / "cert.pem").write_text(own.certificate)
    (folder / "key.pem").write_text(own.key)
    return folder / "cert.pem", folder / "key.pem"


async def test_a_new_pair_is_taken_and_a_broken_one_is_not(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_files, "LOOK_SECONDS", 0.01)
    files = TlsFiles(*write(ca, tmp_path))
    reads = iter(range(100))
    monkeypatch.setattr(files, "_read", lambda read=files._read: (next(reads), read())[1])

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(9):
            writer.write(data)
        writer.close()

    trusting = ssl.create_default_context(cadata=ca.certificate)
    trusting.check_hostname = False

    async def connect(name: str = "apps.example") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)

    async def serial(name: str = "apps.example") -> str:
        _, writer = await connect(name)
        writer.close()
        return str(writer.get_extra_info("peercert")["serialNumber"])

    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=files.context)
        port = server.sockets[0].getsockname()[1]
        tasks.start(files.follow(), name="files")
        reader, writer = await connect()
        first = await serial()
        (tmp_path / "key.pem").write_text(ca.server_certificate(("apps.example",)).key)  # of another certificate
        while next(reads) < 2:
            await asyncio.sleep(0.01)
        assert await serial() == first
        write(ca, tmp_path)
        while await serial("") == first:
            await asyncio.sleep(0.01)
        writer.write(b"x")
        assert await reader.read(9) == b"x"
        writer.close()
        server.close()


def test_files_that_are_none_are_said_with_their_settings(ca: Authority, tmp_path: Path) -> None:
    certificate, key = write(ca, tmp_path)
    with pytest.raises(ConfigError, match=r"--tls-cert and --tls-key: .*No such file or directory"):
        TlsFiles(tmp_path / "none", key)
    key.write_text("nothing")
    with pytest.raises(ConfigError, match="give a matching pair in PEM form"):
        TlsFiles(certificate, key)
