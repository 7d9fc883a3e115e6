"""A server of netvps on free ports, with folders of its own."""

from __future__ import annotations

import logging
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from netvps.programs.wiring.control_plane import build
from netvps.settings import ServerSettings, load

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS = ("api_port", "link_port", "ssh_port", "http_port", "apps_port")


@contextmanager
def flags_of_a_server() -> Iterator[dict[str, str]]:
    """Settings of a server that is alone; the folder's name is short, for a socket has to fit in it."""
    with tempfile.TemporaryDirectory(prefix="nv-") as folder, ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = {name: str(one.getsockname()[1]) for name, one in zip(PORTS, sockets, strict=True)}
        stack.close()
        yield {"state_dir": f"{folder}/s", "runtime_dir": f"{folder}/r", "drain": "1"} | ports


@pytest.fixture
def server_flags() -> Iterator[dict[str, str]]:
    """As above."""
    with flags_of_a_server() as flags:
        yield flags


@pytest.fixture
def arguments(server_flags: dict[str, str]) -> list[str]:
    """The same as a command line."""
    return [word for name, value in server_flags.items() for word in (f"--{name.replace('_', '-')}", value)]


@pytest.fixture
def state(server_flags: dict[str, str]) -> Path:
    """The server's state folder."""
    return Path(server_flags["state_dir"])


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.basicConfig(handlers=handlers, level=level, force=True)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def made(server_flags: dict[str, str]) -> Path:
    """The state folder of a server that was started once, and runs no more."""
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        await plane.stop()
    return settings.paths.state
