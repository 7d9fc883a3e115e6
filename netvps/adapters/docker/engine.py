"""A runner's engine: implements runner.ports.Engine with Docker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.containers.attachments import Attachments
from netvps.adapters.docker.containers.containers import Containers
from netvps.adapters.docker.containers.tasks import TaskContainers
from netvps.adapters.docker.content.archive_export import Exports
from netvps.adapters.docker.content.archive_import import Imports
from netvps.adapters.docker.content.differences import Differences
from netvps.adapters.docker.content.snapshot_tree import Browsing
from netvps.adapters.docker.environments.environments import Environments
from netvps.adapters.docker.errors import LIBRARY_ERRORS, ContainerNotFound, ImageNotFound, mapped
from netvps.adapters.docker.events import Events
from netvps.adapters.docker.files.archives import Archives
from netvps.adapters.docker.files.copies import Copies
from netvps.adapters.docker.files.images import Contents, Images
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.adapters.docker.files.snapshots import Snapshots
from netvps.adapters.docker.files.travelling import Travelling
from netvps.adapters.docker.files.volumes import SessionVolumes
from netvps.adapters.docker.images.image_travel import ImageTravel
from netvps.adapters.docker.leftovers import Leftovers
from netvps.adapters.docker.network.network import SessionNetworks
from netvps.adapters.docker.stream import Closable, iterate
from netvps.domain.image.image import ImageProgress
from netvps.domain.image.login import Credential
from netvps.domain.overlay.kernel.links import OBJECT_NAMES
from netvps.domain.runner.docker_names import container_name, restore_name, session_of
from netvps.domain.runner.runner import Capacity
from netvps.domain.session.attachment import Attachment
from netvps.domain.session.blueprint import Blueprint
from netvps.domain.session.container import Container, Observed, SavedImage, SourceImage, Status
from netvps.domain.session.kept import SavedFiles
from netvps.domain.session.plan import source_of
from netvps.domain.session.session import Assignment, DesiredState, SnapshotImage
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.faults import fault_point

log = structlog.get_logger()


class DockerEngine:
    """The sessions of one runner on one Docker engine.

    `node` is the runner's uid, `node_name` its name, `overlay` the name of the overlay's Docker network, `copies` the
    folder for what containers of stopped sessions wrote.
    """

    def __init__(
        self,
        docker: Docker,
        *,
        node: str,
        node_name: str,
        copies: Path,
        overlay: str = OBJECT_NAMES.network,
        volumes: Path | None = None,
    ) -> None:
        """`volumes` is the folder with the record of each session's volumes."""
        self._docker = docker
        self._node = node
        self._network = SessionNetworks(docker, node)
        contents = Contents()
        self._attachments = Attachments(docker, self._network, overlay)
        self._volumes = SessionVolumes(volumes)
        self._containers = Containers(docker, self._network, self._attachments, contents, node, volumes=self._volumes)
        self._images = Images(docker)
        self._snapshots = Snapshots(docker, contents, node, node_name)
        archives = Archives(copies)
        self._copies = Copies(docker, archives)
        self._archives = SnapshotArchives(docker, archives, self._copies)
        self.diff = Differences(docker, self._copies, self._archives).find
        self.export = Exports(docker, archives, self._archives).read
        self.browse = Browsing(self._archives).open
        self.take_in = Imports(docker, archives, self._archives).write
        self.travelling = Travelling(archives, self._archives, self._images)
        self.image_travel = ImageTravel(docker, archives, self._images, contents)
        self._leftovers = Leftovers(docker, node)
        self.tasks = TaskContainers(docker, self._containers, self._images, node)
        self.environments = Environments(docker, self._images, contents, copies / "contexts")
        # What a part does by itself, the part offers; the methods below take several.
        self.start, self.signal = self._containers.start, self._containers.signal
        self.pause, self.unpause = self._containers.pause, self._containers.unpause
        self.resize, self.reclaim = self._containers.resize, self._containers.reclaim
        self.bridge = self._attachments.bridge
        self.pull, self.prune = self._images.pull, self._snapshots.prune
        self.mounted, self.things = self._leftovers.mounted, self._leftovers.things
        self.watch = Events(docker, node).watch

    def pull_with(
        self,
        logins: Callable[[str], Awaitable[Credential | None]],
        peers: Callable[[str], AsyncGenerator[ImageProgress, None]],
    ) -> None:
        """Pulls with these logins to registries, by HOST[:PORT], before those of Docker's own configuration.

        `peers` copies an image from another runner.
        """
        self._images.logins = logins
        self._images.peers = peers

    async def inspect(self, assignment: Assignment) -> Observed:
        """Inspects a session, as far as its desired state needs it."""
        container = await self._containers.find(assignment.session_uid, assignment.owner_id)
        wanted = assignment.desired is DesiredState.RUNNING
        files = await asyncio.to_thread(self._copies.find, assignment.session_uid)
        lost = wanted and container is None and files is None
        observed = await asyncio.to_thread(self._seen_snapshots, assignment, lost=lost)
        alive = container is not None and container.status in {Status.RUNNING, Status.PAUSED}
        if container and (alive or (wanted and container.status is not Status.DEAD)):
            machine = await self._docker.machine()
            return replace(observed, container=container, files=files, machine=machine)  # no action needs images
        saved = await self._snapshots.find(assignment.session_uid)
        if container or not wanted:
            return replace(observed, container=container, saved=saved, files=files)
        return replace(observed, saved=saved, source=await self._images.find(source_of(assignment, saved)), files=files)

    def _seen_snapshots(self, assignment: Assignment, *, lost: bool) -> Observed:
        """The snapshots on this machine that an assignment may name, or that have what is `lost` otherwise."""
        own = lost or bool(assignment.snapshot_orders or assignment.restore)
        found = self._archives.find(assignment.session_uid) if own else {}
        cloned = self._archives.find(assignment.source.session) if assignment.source else {}
        traces = self._archives.traces(assignment.session_uid) if own else frozenset[str]()
        return Observed(snapshots=found | cloned, snapshot_traces=traces)

    async def create(self, plan: Blueprint) -> None:
        """Creates a container. Raises ImageForOtherMachine before there is anything of it."""
        await self._images.require_runnable(plan.image)
        await self._snapshots.remove_helper(plan.session_uid)
        await self._containers.remove_restored(plan.session_uid)
        await self._containers.create(plan)

    async def copy(self, assignment: Assignment, container: Container, given_up: Callable[[], bool]) -> bool:
        """Copies what a stopped container wrote."""
        excluded = assignment.spec.snapshot_policy.excluded_paths
        return await self._copies.write(assignment.session_uid, container, given_up, excluded=excluded)

    async def provide(self, session_uid: str, files: SavedFiles, progress: Callable[[str], None]) -> SourceImage:
        """Loads or pulls the image that a copy is based on."""
        if reference := await self._copies.image(session_uid):
            await self._images.pull(reference, progress)
        found = await self._images.find(files.image)
        if found is None:
            raise ImageNotFound(
                f"image {files.image}, which the session's copy is based on, is not what was loaded; load it by hand "
                "(docker load)"
            )
        return found

    async def restore(self, plan: Blueprint, replaced: Container | None) -> None:
        """Creates a container from a copy; it gets its final name only once its files are complete."""
        name = restore_name(plan.session_uid)
        await self._snapshots.remove_helper(plan.session_uid)
        await self._containers.remove_restored(plan.session_uid)
        saved = await asyncio.to_thread(self._copies.volumes, plan.session_uid)
        missing = await self._docker.call("volumes", lambda api: self._volumes.fill(api, plan, saved))
        await self._containers.create(replace(plan, name=name), missing)
        fault_point("restore.made")
        await self._copies.unpack(plan.session_uid, name, missing)
        if missing:
            await asyncio.to_thread(self._volumes.filled, plan.session_uid)
        fault_point("restore.unpacked")
        if replaced:
            await self._containers.remove(replaced.id, force=False)
        await self._containers.rename(name, plan.name)

    async def take_snapshot(
        self,
        assignment: Assignment,
        uid: str,
        container: Container | None,
        given_up: Callable[[], bool],
        source: SnapshotSource | None = None,
    ) -> bool:
        """Takes a snapshot."""
        if source is not None and container is None:
            return await asyncio.to_thread(self._archives.repeat, assignment.session_uid, uid, source)
        excluded = assignment.spec.snapshot_policy.excluded_paths
        return await self._archives.take(assignment.session_uid, uid, container, given_up, excluded=excluded)

    async def keep_snapshot(self, assignment: Assignment, uid: str, run: str) -> SavedSnapshot | None:
        """Makes the copy of a session a snapshot, too."""
        return await asyncio.to_thread(self._archives.keep, assignment.session_uid, uid, run)

    async def drop_snapshot(self, assignment: Assignment, uid: str) -> None:
        """Removes a snapshot."""
        await asyncio.to_thread(self._archives.drop, assignment.session_uid, uid)

    async def adopt_snapshot(self, session_uid: str, uid: str, run: str) -> None:
        """Makes a snapshot of a run of its session the session's copy, too."""
        await asyncio.to_thread(self._archives.adopt, session_uid, uid, run)

    async def disown(self, session_uid: str, uid: str) -> frozenset[str]:
        """Makes a damaged archive no snapshot any more."""
        return await asyncio.to_thread(self._archives.disown, session_uid, uid)

    async def provide_below(self, session_uid: str, uid: str, progress: Callable[[str], None]) -> SourceImage:
        """Loads or pulls the image below a snapshot."""
        image, reference = await self._archives.image(session_uid, uid)
        if reference:
            await self._images.pull(reference, progress)
        found = await self._images.find(image)
        if found is None:
            raise ImageNotFound(f"image {image}, below snapshot {uid}, is not what was loaded; load it by hand")
        return found

    async def make_from(self, plan: Blueprint, source: SnapshotSource) -> None:
        """Creates a container from a snapshot, under a temporary name."""
        name = restore_name(plan.session_uid)
        await self._snapshots.remove_helper(plan.session_uid)
        await self._containers.remove_restored(plan.session_uid)
        filled = await self._refilled(plan, source)
        await self._containers.create(replace(plan, name=name), filled)
        fault_point("revert.made")
        await self._archives.unpack(source.session, source.uid, name)
        other = source.session != plan.session_uid
        if other:
            await self._archives.renew_machine_id(name)
        await self._archives.mark_restored(name, "clone" if other else "restore")

    async def take_place(self, plan: Blueprint, source: SnapshotSource, replaced: Container | None) -> None:
        """Puts that container in place of another, and the volumes of its snapshot in place of present ones."""
        name = restore_name(plan.session_uid)
        if source.session == plan.session_uid:
            run = await self._containers.run_of(name)
            await asyncio.to_thread(self._archives.adopt, source.session, source.uid, run)
        fault_point("revert.unpacked")
        if replaced:
            await self._containers.remove(replaced.id, force=False)
        if filled := await self._refilled(plan, source):
            names = [volume.name for volume in plan.volumes if volume.target in filled]
            await asyncio.to_thread(self._volumes.refill, plan.session_uid, names)
            await self._archives.unpack_volumes(source, plan.session_uid, name, filled)
            await asyncio.to_thread(self._volumes.filled, plan.session_uid)
        await self._containers.rename(name, plan.name)

    async def _refilled(self, plan: Blueprint, source: SnapshotSource) -> list[str]:
        """Paths of the container's volumes whose files are in a snapshot."""
        held = await asyncio.to_thread(self._archives.volumes, source.session, source.uid)
        return [volume.target for volume in plan.volumes if volume.target in held]

    async def move(self, container: Container, to: Attachment) -> None:
        """Moves a container to another network or address; removes an owner's network that has no container left."""
        await self._containers.move(container, to)
        await self._network.release()

    async def remove(self, container: Container) -> None:
        """Removes a stopped container; refuses a running one."""
        await self._containers.remove(container.id, force=False)

    async def commit(
        self, uid: str, assignment: Assignment, container: Container, *, flatten: bool, given_up: Callable[[], bool]
    ) -> SnapshotImage | None:
        """Takes a snapshot of a container: create, verify, name."""
        labels = self._snapshots.labels(
            uid, assignment.session_uid, assignment.epoch, assignment.generation, container.run
        )
        image_id = await self._snapshots.commit(container, labels, flatten=flatten, given_up=given_up)
        if image_id is None:
            return None
        fault_point("commit.verified")
        return (await self._snapshots.name(assignment.session_uid, image_id)).snapshot

    async def flatten(
        self, uid: str, assignment: Assignment, saved: SavedImage, given_up: Callable[[], bool]
    ) -> SnapshotImage | None:
        """Makes a single-layer snapshot of a snapshot: create, verify, name."""
        labels = self._snapshots.labels(uid, assignment.session_uid, assignment.epoch, assignment.generation, saved.run)
        image_id = await self._snapshots.flatten(saved.snapshot, labels, given_up)
        return (await self._snapshots.name(assignment.session_uid, image_id)).snapshot if image_id else None

    async def tidy(self, assignment: Assignment) -> None:
        """Removes the remains of interrupted snapshots."""
        await self._snapshots.tidy(assignment.session_uid)

    async def erase(self, session_uid: str, digest: str = "") -> None:
        """Removes everything of a session, and its owner's network if no other session uses it.

        `digest` is the id of the image recorded as its snapshot, or "".
        """
        for container_id in await self._leftovers.containers(session_uid):
            await self._containers.remove(container_id, force=True)
        fault_point("erase.containers")
        await self._snapshots.erase(session_uid, digest)
        fault_point("erase.images")
        await asyncio.to_thread(self._archives.erase, session_uid)
        await asyncio.to_thread(self._copies.erase, session_uid)
        await self._leftovers.remove_volumes(session_uid)
        await asyncio.to_thread(self._volumes.forget, session_uid)
        await self._network.release()

    async def capacity(self) -> Capacity:
        """Reports the machine's capacity."""
        info = await self._docker.info()
        return Capacity(
            info.cpus,
            info.memory_bytes,
            info.disk_free_bytes,
            info.version,
            disk_bytes=info.disk_bytes,
            disk_limits=not info.disk_limits_problem,
            disk_limits_problem=info.disk_limits_problem,
            architecture=await self._images.machine(),
        )

    async def owned(self) -> frozenset[str]:
        """Returns the uids of sessions that have any object here."""
        copied = await asyncio.to_thread(lambda: self._copies.sessions() | self._archives.sessions())
        return await self._leftovers.sessions() | copied

    async def logs(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yields what the container wrote after `since`, stdout and stderr interleaved."""
        name = container_name(session_uid)

        def open_stream() -> Closable[bytes]:
            api = self._docker.stream_api
            # Inspecting first raises early: the library's `logs` would leak its connection.
            found = api.inspect_container(name)
            if session_of("container", name, found["Config"].get("Labels"), self._node) != session_uid:
                raise ContainerNotFound(f"logs of container {name}: it is not this runner's")
            after = since.timestamp() if since else None
            stream: Closable[bytes] = api.logs(found["Id"], stream=True, follow=follow, tail=tail_lines, since=after)
            return stream

        try:
            async with aclosing(iterate(open_stream, f"logs {session_uid}")) as pieces:
                async for piece in pieces:
                    yield piece
        except LIBRARY_ERRORS as error:
            raise mapped(error, f"logs of container {name}") from error
