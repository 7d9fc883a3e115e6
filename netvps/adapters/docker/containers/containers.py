"""Finds, creates, starts, signals and removes the containers of sessions."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import docker.errors

from netvps.adapters.cgroup import cgroup_of, oom_kills, reclaim
from netvps.adapters.docker.client import Answer, Api, Docker, Work
from netvps.adapters.docker.containers.attachments import Attachments
from netvps.adapters.docker.containers.ends import OomEnds
from netvps.adapters.docker.containers.held import ENDING, HELD, is_holdable, name_of_pid1
from netvps.adapters.docker.containers.host_config import disk_limit_of, gpus_of, host_config, mounts_lxcfs
from netvps.adapters.docker.containers.interrupted import PAUSES, remove_remains, task_folders, was_interrupted
from netvps.adapters.docker.containers.limits import limits_of, update
from netvps.adapters.docker.errors import (
    ContainerCreationFailed,
    ContainerFailed,
    ContainerNameTaken,
    ContainerNotFound,
)
from netvps.adapters.docker.files.images import Contents
from netvps.adapters.docker.files.volumes import SessionVolumes
from netvps.adapters.docker.network.network import SessionNetworks
from netvps.domain.runner.docker_names import LABEL_LAYOUT, LABEL_RESTORE, container_name, restore_name, session_of
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.blueprint import Blueprint
from netvps.domain.session.container import SIGKILL_EXIT, Container, Status
from netvps.domain.session.limits import Limits
from netvps.faults import fault_point

# "2026-11-21T07:12:41.123456789Z": datetime holds microseconds only.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)")
_NEVER = 1
_HELD_SECONDS = 2
"""How long PID 1 of a held container has to end. It has nothing to do before that."""
_NOT_PAUSABLE = ("already paused", "is not running", "not running")
_NOT_RUNNING = ("is not running", "not running", "no such process", "already finished")


class Containers:
    """The containers of the runner with uid `node`."""

    def __init__(
        self,
        docker: Docker,
        network: SessionNetworks,
        attachments: Attachments,
        contents: Contents,
        node: str,
        *,
        volumes: SessionVolumes,
    ) -> None:
        self._docker = docker
        self._network = network
        self._attachments = attachments
        self._contents = contents
        self._node = node
        self._volumes = volumes
        self._ends = OomEnds()

    async def find(self, session_uid: str, owner: str) -> Container | None:
        """Inspects a session's container; None if there is none.

        Raises ContainerNameTaken if it is not this runner's.
        """
        name = container_name(session_uid)
        return await self._docker.call(f"container {name}", lambda api: self._find(api, session_uid, owner, name))

    async def create(self, plan: Blueprint, filled: Collection[str] = ()) -> None:
        """Creates the container, and its owner's network if needed.

        The volumes at the paths `filled` are made if they are missing, because the caller fills them.
        """
        if plan.attachment.net is not Net.ISOLATED:
            await self._create(plan, filled)
            return
        async with self._network.lock:
            await self._network.ensure(plan.attachment.owner)
            fault_point("network.made")
            await self._create(plan, filled)

    async def move(self, container: Container, to: Attachment) -> None:
        """Moves a container to another network or address."""
        await self._attachments.move(container.id, to, container.attachment)

    async def start(self, container: Container) -> None:
        """Starts a container, and ends it first if it is held; reconnects it if its network was removed."""
        try:
            await self._start(container)
        except (ContainerNotFound, ContainerFailed) as error:
            if "network" not in error.message or "not found" not in error.message:
                raise
            if container.attachment is None or container.attachment.net not in {Net.ISOLATED, Net.OVERLAY}:
                raise
            await self._attachments.move(container.id, container.attachment)
            await self._start(container)

    async def signal(self, container: Container, signal: str) -> None:
        """Sends a signal to PID 1; ignores that it does not run."""
        try:
            await self._call(container, lambda api: api.kill(container.id, f"SIG{signal}"))
        except (ContainerFailed, ContainerNotFound) as error:
            if isinstance(error, ContainerFailed) and not any(word in error.message for word in _NOT_RUNNING):
                raise

    async def pause(self, container: Container) -> None:
        """Pauses a container; ignores that it is paused already, or has ended."""
        try:
            await self._call(container, lambda api: api.pause(container.id))
        except (ContainerFailed, ContainerNotFound) as error:
            if isinstance(error, ContainerFailed) and not any(word in error.message for word in _NOT_PAUSABLE):
                raise

    async def resize(self, container: Container, to: Limits) -> None:
        """Changes a container's limits. Raises DoesNotFit if more is in use."""
        await self._call(container, lambda api: update(api, container.id, to))

    async def reclaim(self, container: Container, given_up: Callable[[], bool]) -> int:
        """Lets the kernel take back memory of a paused container; returns the bytes."""

        def work(api: Api) -> int:
            state = api.inspect_container(container.id)["State"]
            pid = int(state.get("Pid") or 0)
            return reclaim(cgroup_of(pid) or "", given_up) if pid and state["Paused"] else 0

        return await self._docker.call_slowly(f"memory of container {container.id[:12]}", work, work=Work.IDLE)

    async def unpause(self, container: Container) -> None:
        """Unpauses a container."""
        try:
            await self._call(container, lambda api: api.unpause(container.id))
        except ContainerFailed as error:
            if "is not paused" not in error.message:
                raise

    async def remove_restored(self, session_uid: str) -> None:
        """Removes the container of an interrupted restore. Raises ContainerNameTaken if it is not this runner's."""
        name = restore_name(session_uid)
        found = await self._docker.call(f"container {name}", lambda api: self._find(api, session_uid, "", name))
        if found:
            await self.remove(found.id, force=True)

    async def run_of(self, name: str) -> str:
        """Returns the run of a container (domain.session.container.Container.run)."""
        found = await self._docker.call(f"container {name}", lambda api: api.inspect_container(name))
        return self._container(found, "", 0).run

    async def rename(self, name: str, to: str) -> None:
        """Renames a container."""
        await self._docker.call(f"container {name}", lambda api: api.rename(name, to), ContainerCreationFailed)

    async def remove(self, container_id: str, *, force: bool) -> None:
        """Removes a container; a running one only with `force`."""
        with suppress(ContainerNotFound):
            # v: anonymous volumes are removed too. Sessions' volumes have names, and stay.
            await self._docker.call_slowly(
                f"container {container_id[:12]}",
                lambda api: api.remove_container(container_id, v=True, force=force),
                work=Work.REMOVAL,
            )

    def seen(self, found: Answer, owner: str) -> Container:
        """Converts an inspected container of this owner, without the number of its image's layers."""
        return self._container(found, owner, 0)

    def _find(self, api: Api, session_uid: str, owner: str, name: str) -> Container | None:
        try:
            found = api.inspect_container(name)
        except docker.errors.NotFound:
            return None
        if session_of("container", name, found["Config"].get("Labels"), self._node) != session_uid:
            raise ContainerNameTaken(
                f"container {name} exists and is not this runner's: remove or rename it, then start the session again"
            )
        self._volumes.note_mounted(session_uid, found)
        return self._container(found, owner, self._depth(api, found["Image"]))

    def _depth(self, api: Api, image_id: str) -> int:
        try:
            return len(self._contents.get(api, image_id).layers)
        except docker.errors.ImageNotFound:  # removed by force; the container still has its layers
            return 0

    def _container(self, found: Answer, owner: str, image_layers: int) -> Container:
        state = found["State"]
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        status = Status(state["Status"] if state["Status"] != "restarting" else "exited")
        pid, exit_code = int(state.get("Pid") or 0), int(state.get("ExitCode") or 0)
        started, ended = parse_time(state.get("StartedAt")), parse_time(state.get("FinishedAt"))
        if pid:
            self._ends.runs(found["Id"], started, pid)
        killed = status is Status.EXITED and exit_code == SIGKILL_EXIT
        holdable = is_holdable(found)
        name = name_of_pid1(found) if holdable else ""
        return Container(
            id=found["Id"],
            status=status,
            layers=image_layers,
            started=started,
            ended=ended,
            exit_code=exit_code,
            oom_killed=bool(state.get("OOMKilled")),
            ended_by_oom=killed and ended is not None and self._ends.by_oom(found["Id"], started, ended),
            oom_kills=oom_kills(pid) if pid and Path("/proc", str(pid)).exists() else None,
            address=self._attachments.address(networks),
            attachment=self._attachments.seen(networks, owner),
            image=str(found["Image"]),
            files=files_folder(found),
            layout=str((found["Config"].get("Labels") or {}).get(LABEL_LAYOUT, "")),
            limits=limits_of(found),
            disk_bytes=disk_limit_of(found),
            gpus=gpus_of(found),
            lxcfs=mounts_lxcfs(found),
            holdable=holdable,
            ending=name in {ENDING, HELD},
            held=name == HELD,
            restored=str((found["Config"].get("Labels") or {}).get(LABEL_RESTORE, "")),
        )

    async def _create(self, plan: Blueprint, filled: Collection[str]) -> None:
        """Creates the container. Raises VolumeMissing where Docker would silently create an empty volume."""
        if plan.volumes:
            await self._docker.call("volumes", lambda api: self._volumes.require(api, plan, filled))
        await self._docker.call(
            f"container {plan.name}",
            lambda api: api.create_container(
                image=plan.image,
                name=plan.name,
                hostname=plan.hostname,
                labels=plan.labels,
                environment=list(plan.env),
                entrypoint=list(plan.entrypoint),
                user=plan.user or None,
                working_dir=plan.working_dir or None,
                stop_signal="SIGTERM",
                host_config=api.create_host_config(
                    **host_config(plan), network_mode=self._attachments.mode(plan.attachment)
                ),
                **self._attachments.creation(api, plan.attachment),
            ),
            ContainerCreationFailed,
        )
        if plan.volumes:
            await asyncio.to_thread(self._volumes.note, plan.session_uid, [volume.name for volume in plan.volumes])

    async def _start(self, container: Container) -> None:
        def begin(api: Api) -> None:
            if container.held:  # in one call: shorter, and a prune finds no container that has ended
                api.restart(container.id, timeout=_HELD_SECONDS)
            else:
                api.start(container.id)

        for pause in (*PAUSES, 0.0):
            try:
                await self._call(container, begin)
            except ContainerFailed as error:
                if not was_interrupted(error) or not pause:
                    raise
                await self._remove_remains(container.id, error)
                await asyncio.sleep(pause)
            else:
                return

    async def _remove_remains(self, container_id: str, error: ContainerFailed) -> None:
        """Removes what an interrupted start left of a session's container; raises `error` if it is not a session's."""
        found = await self._docker.call(
            f"container {container_id[:12]}", lambda api: api.inspect_container(container_id)
        )
        name = str(found["Name"]).removeprefix("/")
        if found["Id"] != container_id or not session_of("container", name, found["Config"].get("Labels"), self._node):
            raise error
        folders = await asyncio.to_thread(task_folders, self._docker.base_url)
        await asyncio.to_thread(remove_remains, container_id, error, folders=folders)

    async def _call(self, container: Container, function: Callable[[Api], object]) -> None:
        await self._docker.call(f"container {container.id[:12]}", function)


def parse_time(text: str | None) -> datetime | None:
    """Parses an RFC 3339 time of the engine to microseconds; None for year 1, its value for "never"."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    seconds, fraction, zone = match.groups()
    time = datetime.fromisoformat(f"{seconds}.{(fraction or '0').ljust(6, '0')}{zone.replace('Z', '+00:00')}")
    return time.astimezone(UTC) if time.year > _NEVER else None


def files_folder(found: Answer) -> str:
    """Returns the overlay2 upper folder of a container, with what it wrote; '' if not accessible from here."""
    driver = found.get("GraphDriver") or {}
    upper = str((driver.get("Data") or {}).get("UpperDir") or "") if driver.get("Name") == "overlay2" else ""
    return upper if upper and os.access(upper, os.R_OK | os.W_OK | os.X_OK) and os.geteuid() == 0 else ""


def unchanged(api: Api, container: Container) -> bool:
    """Reports whether a container exists, and does not run, unless it is held, nor was started since its inspection."""
    try:
        found = api.inspect_container(container.id)
    except docker.errors.NotFound:
        return False
    rests = not found["State"]["Running"] or (is_holdable(found) and name_of_pid1(found) == HELD)
    return rests and parse_time(found["State"].get("StartedAt")) == container.started
