"""Connects to the engine, reports what it is, and maps every call's errors."""

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
    EngineUnavailable,
    EngineUnusable,
    mapped,
)
from netvps.adapters.docker.pool import Pool
from netvps.adapters.docker.storage import disk_bytes, why_no_limits
from netvps.domain.session.limits import Limits

T = TypeVar("T")
Api = Any
"""docker.APIClient; its type stubs are incomplete."""
Answer = dict[str, Any]
"""JSON from the engine; does not leave the module that requested it."""
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
CALL_SECONDS = 60
SLOW_SECONDS = 1800
_MIN_API = "1.40"
_CLOSED = "file descriptor cannot be a negative integer"
"""What urllib3 says when it looks at a closed socket."""
_IN_CONTAINER = Path("/.dockerenv")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts about the engine, in bytes. `disk_free_bytes` is 0 where its data folder is not visible to this process."""

    version: str
    root_dir: str
    cpus: int
    memory_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    disk_limits_problem: str
    """Why it cannot limit the disk of a container; '' if it can."""


class Work(Enum):
    """A kind of slow call, and how many run at once; kinds do not wait for each other."""

    COMMIT = 2
    """Snapshots: mostly disk time."""
    TRANSFER = 3
    """Exports, imports, copies of files."""
    REMOVAL = 4
    """Of containers, images and volumes: short, but serialised by the engine's locks."""
    IDLE = 1
    """Background work without a waiting caller."""


class Docker:
    """A Docker engine, for concurrent tasks. Runs 8 short calls at once, and slow ones as `Work` says."""

    def __init__(self, base_url: str | None = None) -> None:
        self.base_url = base_url or os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET
        self._short = Pool("docker", 8)
        self._slow = {work: Pool(f"docker {work.name.lower()}", work.value) for work in Work}
        self._lock = threading.Lock()
        self._root_dir = ""
        self._machine: Limits | None = None
        self._clients: dict[float | None, docker.APIClient] = {}

    @classmethod
    async def open(cls, base_url: str | None = None) -> Docker:
        """Connects and checks the engine. Raises EngineUnavailable or EngineUnusable, with the remedy."""
        engine = cls(base_url)
        await engine.info()
        return engine

    async def info(self) -> EngineInfo:
        """Reads version, data folder and the machine's capacity."""
        said = await self.call(f"the engine at {self.base_url}", lambda api: api.info())
        version, self._root_dir = str(said.get("ServerVersion", "")), str(said.get("DockerRootDir", ""))
        cpus, memory = int(said.get("NCPU", 0)), int(said.get("MemTotal", 0))
        self._machine = Limits(float(cpus), memory)
        free, size = disk_free(self._root_dir) or 0, disk_bytes(self._root_dir)
        return EngineInfo(version, self._root_dir, cpus, memory, free, size, why_no_limits(said))

    async def root_dir(self) -> str:
        """Returns the engine's data folder from the last `info`, which is slow; the runner calls that regularly."""
        return self._root_dir or (await self.info()).root_dir

    async def machine(self) -> Limits:
        """Returns the machine's CPUs and memory, which do not change while the engine runs."""
        if self._machine is None:
            await self.info()
        return self._machine or Limits()

    async def call(
        self, subject: str, function: Callable[[Api], T], otherwise: type[DockerError] = ContainerFailed
    ) -> T:
        """Makes a short call of the library. `subject` starts an error's message."""
        return await self._short.run(lambda: guarded(subject, lambda: function(self.api), otherwise), CALL_SECONDS + 5)

    async def call_slowly(
        self,
        subject: str,
        function: Callable[[Api], T],
        otherwise: type[DockerError] = ContainerFailed,
        *,
        work: Work = Work.TRANSFER,
    ) -> T:
        """Makes a call that may take many minutes; waits for a slot of its kind only."""
        call = partial(guarded, subject, lambda: function(self.slow_api), otherwise)
        return await self._slow[work].run(call, SLOW_SECONDS)

    async def call_idly(
        self, subject: str, function: Callable[[Api], T], otherwise: type[DockerError] = ContainerFailed
    ) -> T | None:
        """Makes a slow background call; returns None at once while another runs."""
        if self._slow[Work.IDLE].full:
            return None
        return await self.call_slowly(subject, function, otherwise, work=Work.IDLE)

    async def hidden(self, *folders: Path) -> str:
        """Returns why the engine cannot mount these folders at their paths here; '' if it can, or if that is unknown.

        Matters where this process itself runs in a container: there, each folder must be mounted at its own path.
        """
        if not self.base_url.startswith(("unix:", "http+unix:", "/")):
            return f"the engine at {self.base_url} is on another machine: run a runner there"
        if not await asyncio.to_thread(_IN_CONTAINER.exists):
            return ""
        try:
            own = await self.call("this container", lambda api: api.inspect_container(socket.gethostname()))
        except DockerError:
            return ""  # a container of another engine: nothing to compare with
        same = [Path(m["Destination"]) for m in own.get("Mounts", ()) if m.get("Source") == m.get("Destination")]
        for folder in folders:
            if not any(folder.is_relative_to(mount) for mount in same):
                return f"the engine does not see {folder}; mount it into this container at the same path (-v)"
        return ""

    def close(self) -> None:
        """Closes idle connections."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    @property
    def api(self) -> Api:
        """The client for short calls. Creating it blocks: use it in a thread, as `call` does."""
        return self._client(CALL_SECONDS)

    @property
    def slow_api(self) -> Api:
        """The client for commits, exports and imports."""
        return self._client(SLOW_SECONDS)

    @property
    def stream_api(self) -> Api:
        """The client for streams that may be silent for long, without a timeout."""
        return self._client(None)

    def _client(self, timeout: float | None) -> docker.APIClient:
        with self._lock:
            if timeout not in self._clients:
                self._clients[timeout] = self._connect(timeout)
            return self._clients[timeout]

    def _connect(self, timeout: float | None) -> docker.APIClient:
        # Always with a timeout: an engine that hangs must not block the runner.
        patience = min(timeout or CALL_SECONDS, CALL_SECONDS)
        _probe(self.base_url, patience)
        first = self._opened(_MIN_API, patience)
        try:
            version = str(first.version(api_version=False)["ApiVersion"])
        finally:
            first.close()
        if docker.utils.version_lt(version, _MIN_API):
            raise EngineUnusable(f"Docker's API {version} is too old; install Docker 20.10 or later")
        return self._opened(version, timeout)

    def _opened(self, version: str, timeout: float | None) -> docker.APIClient:
        client = _Api(self.base_url, version=version, timeout=timeout)  # type: ignore[arg-type]
        client.trust_env = False  # no proxies and no ~/.netrc for a local engine
        return client


class _Api(docker.APIClient):
    """A client that gets over a closed connection in its pool.

    A stream that is cancelled while it ends may leave one: docker-py closes the socket, and urllib3 has the connection
    back already. urllib3 then fails before it sends anything, so the request may be sent again.
    """

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """Sends a request, a second time if the pool had a closed connection."""
        try:
            return super().send(*args, **kwargs)
        except ValueError as error:
            if _CLOSED not in str(error):
                raise
            return super().send(*args, **kwargs)


def ask(base_url: str, function: Callable[[Api], T], timeout: float) -> T:
    """Makes one short call on a connection of its own; blocks, at most `timeout` seconds for each answer."""
    engine = Docker(base_url)
    try:
        return guarded(f"the engine at {base_url}", lambda: function(engine._client(timeout)))  # noqa: SLF001 — its own
    finally:
        engine.close()


def guarded(subject: str, function: Callable[[], T], otherwise: type[DockerError] = ContainerFailed) -> T:
    """Calls the library and maps its errors."""
    try:
        return function()
    except DockerError:
        raise
    except LIBRARY_ERRORS as error:
        raise _mapped(error, subject, otherwise) from error


def _mapped(error: Exception, subject: str, otherwise: type[DockerError]) -> DockerError:
    """Maps an error; a missing socket without a dockerd program means that Docker is not installed."""
    failure = mapped(error, subject, otherwise)
    if isinstance(failure, EngineUnavailable) and "No such file" in str(error) and not _installed():
        return EngineUnusable("Docker is not installed; install it (Debian: sudo apt-get install docker.io)")
    return failure


def _probe(base_url: str, patience: float) -> None:
    """Connects and disconnects: the system's error is clearer than the library's, which also leaks a socket."""
    if base_url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(patience)
            probe.connect(base_url.removeprefix("unix://"))


def _installed() -> bool:
    folders = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/snap/bin"]
    return any(Path(folder, "dockerd").exists() for folder in folders)


def disk_free(root: str) -> int | None:
    """Returns the free bytes of the disk of `root`; None if it is not visible from here."""
    try:
        status = os.statvfs(root)
    except (OSError, ValueError):
        return None
    return status.f_bavail * status.f_frsize
