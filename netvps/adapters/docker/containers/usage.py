"""Reads what sessions and the machine use: implements runner.ports.Meter with Docker, cgroups and /proc."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import docker.errors

from netvps.adapters.cgroup import cgroup_of, cgroup_upto, usage
from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.proc import machine_usage, network_bytes
from netvps.domain.metrics import MACHINE, Counters
from netvps.domain.runner.docker_names import container_name, session_of

_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class _Process:
    """PID 1 of a session. Its cgroup tells it from a later process with the same number."""

    pid: int
    cgroup: str
    """Lines of /proc/PID/cgroup when it was found."""
    container: str
    """The same, of the container as a whole: its processes may have made cgroups in their own."""


class SessionUsage:
    """The use of sessions of the runner with uid `node`, which has none without an engine.

    `root` is / except in tests of recorded trees.
    """

    def __init__(self, docker: Docker | None, node: str, root: Path = _ROOT) -> None:
        self._docker = docker
        self._node = node
        self._root = root
        self._processes: dict[str, _Process] = {}

    async def find(self, session_uids: Collection[str]) -> None:
        """Inspects the containers of sessions that have no known process, one by one, and forgets other sessions."""
        self._processes = {uid: self._processes[uid] for uid in session_uids if uid in self._processes}
        for uid in session_uids:
            if self._docker and uid not in self._processes:
                process = await self._docker.call(f"session {uid}", partial(self._find, uid))
                if process:
                    self._processes[uid] = process

    async def read(self, session_uids: Collection[str], *, machine: bool) -> dict[str, Counters]:
        """Reads all counters in one thread."""
        known = {uid: self._processes[uid] for uid in session_uids if uid in self._processes}
        read = await asyncio.to_thread(self._read, known, machine)
        for uid in known.keys() - read.keys():
            self._processes.pop(uid, None)
        return read

    def _find(self, session_uid: str, api: Api) -> _Process | None:
        """The process of a session's container; None if it does not run, is not this runner's, or not visible here."""
        name = container_name(session_uid)
        try:
            found = api.inspect_container(name)
        except docker.errors.NotFound:
            return None
        pid = int(found["State"].get("Pid") or 0)
        if not pid or session_of("container", name, found["Config"].get("Labels"), self._node) != session_uid:
            return None
        cgroup = cgroup_of(pid, self._root) or ""
        whole = cgroup_upto(cgroup, found["Id"])
        return _Process(pid, cgroup, whole) if whole else None

    def _read(self, processes: dict[str, _Process], machine: bool) -> dict[str, Counters]:
        read = {uid: counters for uid, process in processes.items() if (counters := self._session(process))}
        if machine and (used := machine_usage(self._root)):
            network = used.received_bytes, used.sent_bytes
            read[MACHINE] = Counters(time.monotonic(), used.cpu_seconds, used.memory_bytes, *network)
        return read

    def _session(self, process: _Process) -> Counters | None:
        if cgroup_of(process.pid, self._root) != process.cgroup:
            return None
        used = usage(process.container, self._root)
        if used is None:
            return None
        return Counters(time.monotonic(), used.cpu_seconds, used.memory_bytes, *network_bytes(process.pid, self._root))
