"""The connection to the engine: what it is, what it sees of us, and every call mapped to our errors."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.utils

from netvps.adapters.docker.errors import (
    LIBRARY_ERRORS,
    ContainerFailed,
    DockerError,
    EngineAway,
    EngineUnusable,
    mapped,
)
from netvps.adapters.docker.pool import Pool

T = TypeVar("T")
Api = Any
"""docker.APIClient, of which the stubs know half."""
Answer = dict[str, Any]
"""JSON of the engine, as it came; it goes no further than the module that asked for it."""
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
CALL_SECONDS = 60
SLOW_SECONDS = 1800
_MIN_API = "1.40"
_IN_CONTAINER = Path("/.dockerenv")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine says of itself; bytes. `disk_free_bytes` is 0 where its folder cannot be seen from here."""

    version: str
    root_dir: str
    cpus: int
    memory_bytes: int
    disk_free_bytes: int


class Work(Enum):
    """A kind of slow call, and how many of it run at once: one kind never waits for another."""

    COMMIT = 2
    """Snapshots: mostly the disk's time."""
    TRANSFER = 3
    """Exports, imports, copies of files."""
    REMOVAL = 4
    """Of containers, images and volumes: short, but behind the engine's locks."""
    IDLE = 1
    """What nobody waits for."""


class Docker:
    """A Docker engine. Safe for use by many tasks. At once run 8 short calls, and of slow ones what `Work` says."""

    def __init__(self, base_url: str | None = None) -> None:
        self.base_url = base_url or os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET
        self._short = Pool("docker", 8)
        self._slow = {work: Pool(f"docker {work.name.lower()}", work.value) for work in Work}
        self._lock = threading.Lock()
        self._root_dir = ""
        self._clients: dict[int | None, docker.APIClient] = {}

    @classmethod
    async def open(cls, base_url: str | None = None) -> Docker:
        """Connects and checks the engine. Raises EngineAway or EngineUnusable, with what to do."""
        engine = cls(base_url)
        await engine.info()
        return engine

    async def info(self) -> EngineInfo:
        """Version, folder, and what the machine has."""
        said = await self.call(f"the engine at {self.base_url}", lambda api: api.info())
        version, self._root_dir = str(said.get("ServerVersion", "")), str(said.get("DockerRootDir", ""))
        cpus, memory = int(said.get("NCPU", 0)), int(said.get("MemTotal", 0))
        return EngineInfo(version, self._root_dir, cpus, memory, disk_free(self._root_dir) or 0)

    async def root_dir(self) -> str:
        """The engine's folder, as it was when `info` last asked; that is slow, and a runner does it all the time."""
        return self._root_dir or (await self.info()).root_dir

    async def call(
        self, subject: str, function: Callable[[Api], T], otherwise: type[DockerError] = ContainerFailed
    ) -> T:
        """A short call of the library. `subject` starts the error's sentence."""
        return await self._short.run(lambda: guarded(subject, lambda: function(self.api), otherwise), CALL_SECONDS + 5)

    async def call_slowly(
        self,
        subject: str,
        function: Callable[[Api], T],
        otherwise: type[DockerError] = ContainerFailed,
        *,
        work: Work = Work.TRANSFER,
    ) -> T:
        """One that may take many minutes; it waits for its turn, and none of another kind waits for it."""
        call = partial(guarded, subject, lambda: function(self.slow_api), otherwise)
        return await self._slow[work].run(call, SLOW_SECONDS)

    async def call_idly(
        self, subject: str, function: Callable[[Api], T], otherwise: type[DockerError] = ContainerFailed
    ) -> T | None:
        """A slow one that nobody waits for; None at once while there is another of these."""
        if self._slow[Work.IDLE].full:
            return None
        return await self.call_slowly(subject, function, otherwise, work=Work.IDLE)

    async def hidden(self, *folders: Path) -> str:
        """Why the engine cannot mount these folders under the paths they have here; '' if it can, as far as known.

        Asks only where we may be in a container ourselves: there, each folder must be mounted at its own path.
        """
        if not self.base_url.startswith(("unix:", "http+unix:", "/")):
            return f"the engine at {self.base_url} is on another machine: run a runner there"
        if not await asyncio.to_thread(_IN_CONTAINER.exists):
            return ""
        try:
            own = await self.call("this container", lambda api: api.inspect_container(socket.gethostname()))
        except DockerError:
            return ""  # the container of another engine: nothing to compare with
        same = [Path(m["Destination"]) for m in own.get("Mounts", ()) if m.get("Source") == m.get("Destination")]
        for folder in folders:
            if not any(folder.is_relative_to(mount) for mount in same):
                return f"the engine does not see {folder}: mount it into this container at the same path (-v)"
        return ""

    def close(self) -> None:
        """Closes idle connections."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    @property
    def api(self) -> Api:
        """For short calls. To make it blocks: use it in a thread, as `call` does."""
        return self._client(CALL_SECONDS)

    @property
    def slow_api(self) -> Api:
        """For commits, exports and imports."""
        return self._client(SLOW_SECONDS)

    @property
    def stream_api(self) -> Api:
        """For streams that may be silent for long."""
        return self._client(None)

    def _client(self, timeout: int | None) -> docker.APIClient:
        with self._lock:
            if timeout not in self._clients:
                self._clients[timeout] = self._connect(timeout)
            return self._clients[timeout]

    def _connect(self, timeout: int | None) -> docker.APIClient:
        _probe(self.base_url)
        # The version is asked for with a timeout always: an engine that hangs must not hang us.
        first = self._opened(_MIN_API, CALL_SECONDS)
        try:
            version = str(first.version(api_version=False)["ApiVersion"])
        finally:
            first.close()
        if docker.utils.version_lt(version, _MIN_API):
            raise EngineUnusable(f"Docker's API {version} is too old: netvps needs Docker 20.10 or later")
        return self._opened(version, timeout)

    def _opened(self, version: str, timeout: int | None) -> docker.APIClient:
        client = docker.APIClient(self.base_url, version=version, timeout=timeout)  # type: ignore[arg-type]
        client.trust_env = False  # an engine on this machine has no proxy, and no password in ~/.netrc
        return client


def guarded(subject: str, function: Callable[[], T], otherwise: type[DockerError] = ContainerFailed) -> T:
    """Calls the library, with its errors mapped to ours."""
    try:
        return function()
    except DockerError:
        raise
    except LIBRARY_ERRORS as error:
        raise _mapped(error, subject, otherwise) from error


def _mapped(error: Exception, subject: str, otherwise: type[DockerError]) -> DockerError:
    """No socket at all: not installed, rather than away, if there is no program either."""
    failure = mapped(error, subject, otherwise)
    if isinstance(failure, EngineAway) and "No such file" in str(error) and not _installed():
        return EngineUnusable("Docker is not installed here: install it (Debian: sudo apt-get install docker.io)")
    return failure


def _probe(base_url: str) -> None:
    """Connects and hangs up: the system's own error says more than the library's, which leaves a socket open, too."""
    if base_url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CALL_SECONDS)
            probe.connect(base_url.removeprefix("unix://"))


def _installed() -> bool:
    folders = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/snap/bin"]
    return any(Path(folder, "dockerd").exists() for folder in folders)


def disk_free(root: str) -> int | None:
    """Bytes free for Docker's folder; None if it is not visible from here."""
    try:
        status = os.statvfs(root)
    except (OSError, ValueError):
        return None
    return status.f_bavail * status.f_frsize
