from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netvps.errors import Exhausted
from netvps.gateway.web.link_socket import LinkSocket, ask_for_link


async def test_a_link_is_asked_for_by_a_socket_of_this_account_only(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    assert await ask_for_link(path) is None
    path.write_text("left behind")
    async with LinkSocket(path, lambda: "http://127.0.0.1:1/#link=a"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert await ask_for_link(path) == "http://127.0.0.1:1/#link=a"
    assert not path.exists()


async def test_a_refusal_has_its_words(tmp_path: Path) -> None:
    def none() -> str:
        raise Exhausted("100 links wait to be used")

    async with LinkSocket(tmp_path / "web.sock", none):
        with pytest.raises(Exhausted, match="100 links wait"):
            await ask_for_link(tmp_path / "web.sock")


async def test_another_program_at_the_socket_gives_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.web.link_socket._SECONDS", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 100_000)
        writer.close()

    for number, behaviour in enumerate((silent, flood)):
        path = tmp_path / f"{number}.sock"
        server = await asyncio.start_unix_server(behaviour, str(path))
        assert await ask_for_link(path) is None
        server.close()
