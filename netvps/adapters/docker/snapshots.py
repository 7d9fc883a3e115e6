"""Snapshots as images: commit, or export and import from some depth on; then verify; only then the name.

The latter mostly of the snapshot of a session that is stopped, and given up when that is wanted for something else.

An image has its name only once it was verified, so whatever has a snapshot's name is whole, and a crash at any point
leaves at most an image without a name, which goes once the session is at rest.

What is kept of the image's configuration: all of it. The container's own entrypoint (the agent), user and folder are
ours, and are put back to the image's. Docker merges the container's environment into what it commits, so variables
of the spec are in the snapshot's image too; there they are on the same machine, readable by the same people.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import docker.errors
import structlog

from netvps.adapters.docker.client import Answer, Api, Docker, disk_free
from netvps.adapters.docker.containers import parse_time
from netvps.adapters.docker.errors import (
    ContainerFailed,
    ContainerNotFound,
    DiskFull,
    ImageExportFailed,
    ImageImportFailed,
    ImageNotFound,
)
from netvps.adapters.docker.images import Content, Contents
from netvps.domain.container import Container, SavedImage
from netvps.domain.docker_names import (
    LABEL_GENERATION,
    LABEL_NODE,
    LABEL_RUN,
    LABEL_SESSION,
    LABEL_SNAPSHOT,
    flatten_name,
    parse_snapshot_image,
    session_labels,
    snapshot_image,
)
from netvps.domain.session import Snapshot
from netvps.faults import fault_point

log = structlog.get_logger()

_SPARE_BYTES: Final = 64 << 20
"""Room for what a commit needs besides the files, and for others to go on."""
_CHUNK = 1 << 20
_MIB = 1 << 20
_NO_NAME = "<none>:<none>"
# A tar archive ends with two blocks of zeros (POSIX ustar); an export that broke off has none.
_TAR_END = 1024


class _GivenUp(Exception):
    """What was being made is not wanted any more."""


class Snapshots:
    """Snapshots of the sessions of the runner `node`, whose name is `node_name`."""

    def __init__(self, docker: Docker, contents: Contents, node: str, node_name: str) -> None:
        self._docker = docker
        self._contents = contents
        self._node = node
        self._node_name = node_name

    async def find(self, session_uid: str) -> tuple[SavedImage, ...]:
        """All snapshots of a session, the oldest first."""
        return await self._docker.call(f"snapshots of {session_uid}", lambda api: self._find(api, session_uid))

    async def commit(self, container: Container, labels: dict[str, str], *, flatten: bool) -> str:
        """Makes an image of a container; returns its id once it is verified. Raises DiskFull before it begins."""
        what = f"snapshot of container {container.id[:12]}"
        below = await self._docker.call(what, lambda api: self._below(api, container.id))
        await self._remove_unnamed(labels[LABEL_SESSION], {below.id})
        root = await self._docker.root_dir()
        make = partial(self._flatten, given_up=_never) if flatten else self._commit
        return await self._docker.call_slowly(
            what, lambda api: make(api, container.id, below, labels, root), ImageExportFailed
        )

    async def flatten(self, snapshot: Snapshot, labels: dict[str, str], given_up: Callable[[], bool]) -> str | None:
        """Makes an image of one layer of what a snapshot holds; its id once it is verified. Raises DiskFull.

        None while another is being made, and as soon as it is `given_up`, which is asked in a thread.
        """
        await self._remove_unnamed(snapshot.session_uid, {snapshot.digest})
        root = await self._docker.root_dir()

        def make(api: Api) -> str | None:
            try:
                return self._flatten_snapshot(api, snapshot, labels, root, given_up)
            except _GivenUp:
                return None

        return await self._docker.call_idly(f"snapshot {snapshot.image}", make, ImageExportFailed)

    async def remove_helper(self, session_uid: str) -> None:
        """Removes the container that a flattening left which was broken off."""
        name = flatten_name(session_uid)
        await self._docker.call(f"container {name}", lambda api: _remove_container(api, name))

    async def tidy(self, session_uid: str, container: Container | None, snapshot: Snapshot | None) -> None:
        """Removes what snapshots that were broken off left, but nothing that files stand on. Not while one is made."""
        kept = {snapshot.digest} if snapshot else set()
        if container:
            what = f"container {container.id[:12]}"
            kept.add((await self._docker.call(what, lambda api: self._below(api, container.id))).id)
        await self._remove_unnamed(session_uid, kept)

    async def name(self, session_uid: str, image_id: str) -> SavedImage:
        """Gives a verified image the snapshot's name, one that is free."""
        return await self._docker.call(f"snapshot of {session_uid}", lambda api: self._name(api, session_uid, image_id))

    async def prune(self, images: tuple[SavedImage, ...]) -> None:
        """Takes the names of snapshots away: Docker frees layers that no other image needs."""
        for image in images:
            await self._remove_image(image.snapshot.image)

    async def erase(self, session_uid: str) -> None:
        """Removes all images of a session, named or not: from the top, since Docker keeps what another stands on.

        Their times are in seconds, which does not tell the top; so it goes on for as long as that makes them fewer.
        """
        before = -1
        while images := await self._docker.call(f"images of {session_uid}", lambda api: self._images(api, session_uid)):
            if len(images) == before:
                return  # what is left is in use by somebody else
            before = len(images)
            for image in images:
                await self._remove_image(image["Id"])

    async def _remove_unnamed(self, session_uid: str, kept: Collection[str]) -> None:
        """Removes what snapshots that were broken off left: a session has one at a time, so it is nobody's work.

        Not those `kept`, such as the image of the container, even if somebody took its name away: files stand on it.
        """

        def unnamed(api: Api) -> list[str]:
            images = [image for image in self._images(api, session_uid) if image["Id"] not in kept]
            return [str(i["Id"]) for i in images if not any(name != _NO_NAME for name in i.get("RepoTags") or ())]

        for image_id in await self._docker.call(f"images of {session_uid}", unnamed):
            log.info("what a broken-off snapshot left is removed", session=session_uid, image=image_id)
            await self._remove_image(image_id)

    def labels(self, uid: str, session_uid: str, epoch: int, generation: int, run: str) -> dict[str, str]:
        """Labels of a snapshot's image."""
        ours = session_labels(session_uid, self._node, epoch, generation)
        return ours | {LABEL_SNAPSHOT: uid, LABEL_RUN: run}

    def _below(self, api: Api, container_id: str) -> Content:
        return self._contents.get(api, str(api.inspect_container(container_id)["Image"]))

    def _commit(self, api: Api, container_id: str, below: Content, labels: dict[str, str], root: str) -> str:
        _need(_sizes(api, container_id).get("SizeRw"), root)
        made = str(api.commit(container_id, conf=_config(below, labels))["Id"])
        fault_point("commit.made")
        layers, kept = self._contents.get(api, made).layers, len(below.layers)
        # One layer more; none if nothing was ever changed.
        if layers[:kept] != below.layers or len(layers) > kept + 1:
            raise ImageExportFailed(
                "the image that Docker made is not the container's image and one layer: it is not used"
            )
        return made

    def _flatten_snapshot(
        self, api: Api, snapshot: Snapshot, labels: dict[str, str], root: str, given_up: Callable[[], bool]
    ) -> str:
        """By a container of it that never runs."""
        name = flatten_name(snapshot.session_uid)
        _remove_container(api, name)
        try:
            made = _helper(api, name, snapshot.digest, labels)
            return self._flatten(api, made, self._contents.get(api, snapshot.digest), labels, root, given_up=given_up)
        finally:
            _remove_container(api, name)

    def _flatten(
        self,
        api: Api,
        container_id: str,
        below: Content,
        labels: dict[str, str],
        root: str,
        *,
        given_up: Callable[[], bool],
    ) -> str:
        """All files as one layer; the configuration comes back by a commit of a container that never runs."""
        _need(_sizes(api, container_id).get("SizeRootFs"), root)
        # Labelled from its birth, so that it is found should we die right here.
        ours = [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in labels.items()]
        said = api.import_image_from_stream(_whole(api.export(container_id, chunk_size=_CHUNK), given_up), changes=ours)
        flat = imported(said)
        fault_point("flatten.imported")
        name = flatten_name(labels[LABEL_SESSION])
        _remove_container(api, name)
        try:
            _helper(api, name, flat, labels)
            return str(api.commit(name, conf=_config(below, labels))["Id"])
        finally:
            _remove_container(api, name)

    def _name(self, api: Api, session_uid: str, image_id: str) -> SavedImage:
        taken = [parse_snapshot_image(saved.snapshot.image) for saved in self._find(api, session_uid)]
        moment = max([int(time.time()), *(named[1] + 1 for named in taken if named)])
        reference = snapshot_image(session_uid, moment)
        repository, _, tag = reference.rpartition(":")
        api.tag(image_id, repository, tag)
        return self._saved(reference, self._contents.get(api, image_id))

    def _find(self, api: Api, session_uid: str) -> tuple[SavedImage, ...]:
        saved = []
        for image in self._images(api, session_uid):
            for reference in image.get("RepoTags") or ():
                named = parse_snapshot_image(reference)
                if named and named[0] == session_uid:
                    saved.append(self._saved(reference, self._contents.get(api, image["Id"])))
        return tuple(sorted(saved, key=lambda one: (one.snapshot.create_time, one.snapshot.image)))

    def _images(self, api: Api, session_uid: str) -> list[Answer]:
        filters = {"label": [f"{LABEL_SESSION}={session_uid}", f"{LABEL_NODE}={self._node}", LABEL_SNAPSHOT]}
        found = api.images(filters=filters)
        return sorted(found, key=lambda image: int(image["Created"]), reverse=True)

    def _saved(self, reference: str, image: Content) -> SavedImage:
        labels = image.config["Labels"]
        snapshot = Snapshot(
            uid=labels[LABEL_SNAPSHOT],
            session_uid=labels[LABEL_SESSION],
            image=reference,
            digest=image.id,
            size_bytes=image.size_bytes,
            layers=len(image.layers),
            runner=self._node_name,
            generation=int(labels[LABEL_GENERATION]),
            create_time=parse_time(image.created) or datetime.fromtimestamp(0, UTC),
        )
        return SavedImage(snapshot, labels[LABEL_RUN])

    async def _remove_image(self, reference: str) -> None:
        try:
            await self._docker.call_slowly(f"image {reference}", lambda api: api.remove_image(reference, force=True))
        except (ImageNotFound, ContainerNotFound):
            pass
        except ContainerFailed as error:
            # Somebody made something of their own from it: then it is theirs, too.
            if "image is being used" not in error.message and "dependent child" not in error.message:
                raise


def _sizes(api: Api, container_id: str) -> Answer:
    """SizeRw (what was written) and SizeRootFs (all), in bytes; the engine walks the files for it."""
    found: list[Answer] = api.containers(all=True, size=True, filters={"id": container_id})
    return found[0] if found else {}


def _helper(api: Api, name: str, image_id: str, labels: dict[str, str]) -> str:
    """A container that never runs; labelled like the rest of the session: what a crash leaves is found by that."""
    made = api.create_container(image_id, name=name, entrypoint=["/none"], labels=labels, network_disabled=True)
    return str(made["Id"])


def _remove_container(api: Api, name: str) -> None:
    with suppress(docker.errors.NotFound):
        api.remove_container(name, force=True)


def _need(size: object, root: str) -> None:
    """Raises DiskFull if the disk cannot hold `size` more bytes. Unknown sizes are let pass: the engine will say."""
    needed = int(str(size or 0)) + _SPARE_BYTES
    free = disk_free(root)
    if free is not None and needed > free:
        raise DiskFull(
            f"the snapshot needs up to {needed // _MIB} MiB and {free // _MIB} MiB are free in {root}: "
            "free some space (docker system df)"
        )


def _config(image: Content, labels: dict[str, str]) -> dict[str, Any]:
    """The image's configuration with our labels. Docker fills what is missing from the container's, hence the []s."""
    original = image.config
    foreign = {key: value for key, value in (original.get("Labels") or {}).items() if not key.startswith("netvps.")}
    return original | {
        "Entrypoint": original.get("Entrypoint") or [],
        "Cmd": original.get("Cmd") or [],
        "Labels": foreign | labels,
    }


def _never() -> bool:
    return False


def _whole(pieces: Iterator[bytes], given_up: Callable[[], bool] = _never) -> Iterator[bytes]:
    """Passes an archive on. Raises ImageExportFailed at its end if it was cut short."""
    tail = b""
    for piece in pieces:
        if given_up():
            raise _GivenUp
        tail = (tail + piece)[-_TAR_END:]
        yield piece
    if tail != bytes(_TAR_END):
        raise ImageExportFailed("the export of the container's files broke off")


def imported(said: str) -> str:
    """The image id that an import answers: lines of JSON, the last with it, or with an error."""
    last: Answer = {}
    for line in said.splitlines():
        last = json.loads(line) if line.strip() else last
        if "error" in last:
            raise ImageImportFailed(f"Docker did not take the files: {last['error']}")
    image_id = str(last.get("status", ""))
    if not image_id.startswith("sha256:"):
        raise ImageImportFailed("Docker took the files and named no image")
    return image_id
