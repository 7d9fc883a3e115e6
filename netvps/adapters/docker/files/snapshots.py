"""Takes snapshots as images: commit, or export and import beyond a number of layers; then verify, then name.

Exports happen mostly for snapshots of stopped sessions, and are abandoned when the session is needed.

An image gets a snapshot's name only after it was verified, so every image with such a name is complete. Before, it has
the name of an unfinished one, given by the same call that creates it: remains of a crash have that name and are removed
once the session is at rest. An untagged image is never removed for its labels, as `docker commit` copies them.

The image's configuration is kept completely: the container's entrypoint (the agent), user and working directory are
netvps' and are reset to the image's. Docker merges the container's environment into a commit, so variables of the spec
are in the snapshot's image, too; there they are on the same machine, readable by the same people.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import docker.errors
import structlog

from netvps.adapters.docker.client import Answer, Api, Docker, Work
from netvps.adapters.docker.containers.containers import parse_time, unchanged
from netvps.adapters.docker.errors import (
    ContainerFailed,
    ContainerNotFound,
    ImageExportFailed,
    ImageImportFailed,
    ImageNotFound,
)
from netvps.adapters.docker.files.images import Content, Contents
from netvps.adapters.docker.files.written import need, require_holdable, sizes
from netvps.domain.runner.docker_names import (
    LABEL_GENERATION,
    LABEL_NODE,
    LABEL_RUN,
    LABEL_SESSION,
    LABEL_SNAPSHOT,
    flatten_name,
    is_unfinished_image,
    parse_snapshot_image,
    session_labels,
    session_of,
    snapshot_image,
    unfinished_image,
)
from netvps.domain.session.container import Container, SavedImage
from netvps.domain.session.session import SnapshotImage
from netvps.faults import fault_point

log = structlog.get_logger()

_CHUNK = 1 << 20
_NO_NAME = "<none>:<none>"
# A tar archive ends with two blocks of zeros (POSIX ustar); an interrupted export lacks them.
_TAR_END = 1024


class _GivenUp(Exception):
    """The image is not needed any more."""


class Snapshots:
    """The snapshots of the sessions of the runner with uid `node` and name `node_name`."""

    def __init__(self, docker: Docker, contents: Contents, node: str, node_name: str) -> None:
        self._docker = docker
        self._contents = contents
        self._node = node
        self._node_name = node_name

    async def find(self, session_uid: str) -> tuple[SavedImage, ...]:
        """Returns all snapshots of a session, oldest first."""
        return await self._docker.call(f"snapshots of {session_uid}", lambda api: self._find(api, session_uid))

    async def commit(
        self, container: Container, labels: dict[str, str], *, flatten: bool, given_up: Callable[[], bool]
    ) -> str | None:
        """Makes an image of a stopped container; returns its id once verified.

        Returns None if `given_up()` before Docker was asked, or if the container was started meanwhile: then the image
        is removed, as files changed while it was made. Raises DiskFull before it begins, or ImageExportFailed.
        """
        what = f"snapshot of container {container.id[:12]}"
        below = await self._docker.call(what, lambda api: self._below(api, container.id))
        await self.tidy(labels[LABEL_SESSION])
        root = await self._docker.root_dir()
        make = partial(self._flatten, given_up=given_up) if flatten else self._commit

        def work(api: Api) -> str | None:
            # Checked last: Docker pauses a running container for as long as the commit takes.
            if given_up() or not unchanged(api, container):
                return None
            require_holdable(api, container, root, flatten=flatten)
            try:
                made = make(api, container.id, below, labels, root)
            except _GivenUp:
                return None
            return made if unchanged(api, container) else None

        made = await self._docker.call_slowly(what, work, ImageExportFailed, work=Work.COMMIT)
        if made is None:
            await self.tidy(labels[LABEL_SESSION])
        return made

    async def flatten(
        self, snapshot: SnapshotImage, labels: dict[str, str], given_up: Callable[[], bool]
    ) -> str | None:
        """Makes a single-layer image of a snapshot; returns its id once verified. Raises DiskFull.

        Returns None while another one is being made, or as soon as `given_up()`, called in a thread, returns true.
        """
        await self.tidy(snapshot.session_uid)
        root = await self._docker.root_dir()

        def make(api: Api) -> str | None:
            try:
                return self._flatten_snapshot(api, snapshot, labels, root, given_up)
            except _GivenUp:
                return None

        return await self._docker.call_idly(f"snapshot {snapshot.image}", make, ImageExportFailed)

    async def remove_helper(self, session_uid: str) -> None:
        """Removes the container of an interrupted flattening."""
        what = f"container {flatten_name(session_uid)}"
        await self._docker.call(what, lambda api: self._remove_helper(api, session_uid))

    async def tidy(self, session_uid: str) -> None:
        """Removes the remains of interrupted snapshots. Not while one is made: a session has one at a time."""
        for reference, _ in await self._named(session_uid):
            if is_unfinished_image(reference):
                log.info("removing an interrupted snapshot", session=session_uid, image=reference)
                await self._remove_image(reference)

    async def name(self, session_uid: str, image_id: str) -> SavedImage:
        """Gives a verified image a free snapshot name."""
        return await self._docker.call(f"snapshot of {session_uid}", lambda api: self._name(api, session_uid, image_id))

    async def prune(self, images: tuple[SavedImage, ...]) -> None:
        """Removes the names of snapshots: Docker frees layers that no other image needs."""
        for image in images:
            await self._remove_image(image.snapshot.image)

    async def erase(self, session_uid: str, digest: str = "") -> None:
        """Removes all images of a session that have names of netvps; images that users derived from them stay.

        Also removes the recorded snapshot image, by id (`digest`), if its name was removed by hand.
        """
        for reference, _ in await self._named(session_uid):
            await self._remove_image(reference)
        if digest:
            nameless = await self._docker.call(digest, lambda api: self._nameless(api, session_uid, digest))
            if nameless:
                await self._remove_image(digest)

    async def _named(self, session_uid: str) -> list[tuple[str, str]]:
        """Returns netvps' names and ids of a session's images, latest first."""
        return await self._docker.call(
            f"images of {session_uid}",
            lambda api: [(name, str(one["Id"])) for name, one in self._images(api, session_uid)],
        )

    def labels(self, uid: str, session_uid: str, epoch: int, generation: int, run: str) -> dict[str, str]:
        """Returns the labels of a snapshot's image."""
        ours = session_labels(session_uid, self._node, epoch, generation)
        return ours | {LABEL_SNAPSHOT: uid, LABEL_RUN: run}

    def _below(self, api: Api, container_id: str) -> Content:
        return self._contents.get(api, str(api.inspect_container(container_id)["Image"]))

    def _commit(self, api: Api, container_id: str, below: Content, labels: dict[str, str], root: str) -> str:
        made = _committed(api, container_id, _config(below, labels), labels)
        fault_point("commit.made")
        layers, kept = self._contents.get(api, made).layers, len(below.layers)
        # One layer more; none if nothing was changed.
        if layers[:kept] != below.layers or len(layers) > kept + 1:
            raise ImageExportFailed(
                "the image that Docker made is not the container's image plus one layer; it is not used"
            )
        return made

    def _flatten_snapshot(
        self, api: Api, snapshot: SnapshotImage, labels: dict[str, str], root: str, given_up: Callable[[], bool]
    ) -> str:
        """Exports a container of the snapshot that never runs."""
        self._remove_helper(api, snapshot.session_uid)
        try:
            made = _helper(api, snapshot.session_uid, snapshot.digest, labels)
            return self._flatten(api, made, self._contents.get(api, snapshot.digest), labels, root, given_up=given_up)
        finally:
            self._remove_helper(api, snapshot.session_uid)

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
        """Imports all files as one layer, then commits a container of that, which never runs, for the configuration."""
        need(sizes(api, container_id).get("SizeRootFs"), root)
        session_uid = labels[LABEL_SESSION]
        # Labelled and named on creation, so that a crash right here leaves something that is found.
        ours = [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in labels.items()]
        files = unfinished_image(session_uid, f"{labels[LABEL_SNAPSHOT]}-files")
        repository, _, tag = files.rpartition(":")
        pieces = _whole(api.export(container_id, chunk_size=_CHUNK), given_up)
        flat = imported(api.import_image_from_stream(pieces, repository=repository, tag=tag, changes=ours))
        fault_point("flatten.imported")
        self._remove_helper(api, session_uid)
        try:
            made = _committed(api, _helper(api, session_uid, flat, labels), _config(below, labels), labels)
        finally:
            self._remove_helper(api, session_uid)
        _untag(api, files)
        return made

    def _name(self, api: Api, session_uid: str, image_id: str) -> SavedImage:
        taken = [parse_snapshot_image(saved.snapshot.image) for saved in self._find(api, session_uid)]
        moment = max([int(time.time()), *(named[1] + 1 for named in taken if named)])
        reference = snapshot_image(session_uid, moment)
        repository, _, tag = reference.rpartition(":")
        api.tag(image_id, repository, tag)
        saved = self._saved(reference, self._contents.get(api, image_id))
        _untag(api, unfinished_image(session_uid, saved.snapshot.uid))
        return saved

    def _find(self, api: Api, session_uid: str) -> tuple[SavedImage, ...]:
        saved = [
            self._saved(reference, self._contents.get(api, image["Id"]))
            for reference, image in self._images(api, session_uid)
            if parse_snapshot_image(reference)
        ]
        return tuple(sorted(saved, key=lambda one: (one.snapshot.create_time, one.snapshot.image)))

    def _images(self, api: Api, session_uid: str) -> list[tuple[str, Answer]]:
        """Returns a session's images, latest first, once per name of netvps; foreign names are ignored."""
        return [
            (reference, image)
            for image in sorted(self._labelled(api, session_uid), key=lambda one: int(one["Created"]), reverse=True)
            for reference in image.get("RepoTags") or ()
            if session_of("image", reference, image.get("Labels"), self._node) == session_uid
        ]

    def _labelled(self, api: Api, session_uid: str) -> list[Answer]:
        filters = {"label": [f"{LABEL_SESSION}={session_uid}", f"{LABEL_NODE}={self._node}", LABEL_SNAPSHOT]}
        return list(api.images(filters=filters))

    def _nameless(self, api: Api, session_uid: str, image_id: str) -> bool:
        """Reports whether a session's image has no name at all."""
        found = [image for image in self._labelled(api, session_uid) if image["Id"] == image_id]
        return bool(found) and all(name == _NO_NAME for name in found[0].get("RepoTags") or ())

    def _remove_helper(self, api: Api, session_uid: str) -> None:
        """Removes this runner's flattening container."""
        name = flatten_name(session_uid)
        with suppress(docker.errors.NotFound):
            found = api.inspect_container(name)
            if session_of("container", name, found["Config"].get("Labels"), self._node) == session_uid:
                api.remove_container(found["Id"], force=True)

    def _saved(self, reference: str, image: Content) -> SavedImage:
        labels = image.config["Labels"]
        snapshot = SnapshotImage(
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
            await self._docker.call_slowly(
                f"image {reference}", lambda api: api.remove_image(reference, force=True), work=Work.REMOVAL
            )
        except (ImageNotFound, ContainerNotFound):
            pass
        except ContainerFailed as error:
            # In use by a container or image of a user: then the image is theirs, too.
            if "image is being used" not in error.message and "dependent child" not in error.message:
                raise


def _helper(api: Api, session_uid: str, image_id: str, labels: dict[str, str]) -> str:
    """Creates a container that never runs, with the session's labels so that remains of a crash are found."""
    name = flatten_name(session_uid)
    made = api.create_container(image_id, name=name, entrypoint=["/none"], labels=labels, network_disabled=True)
    return str(made["Id"])


def _committed(api: Api, container_id: str, config: dict[str, Any], labels: dict[str, str]) -> str:
    """Commits a container under the name of an unfinished snapshot; returns the image id."""
    unfinished = unfinished_image(labels[LABEL_SESSION], labels[LABEL_SNAPSHOT])
    repository, _, tag = unfinished.rpartition(":")
    return str(api.commit(container_id, repository=repository, tag=tag, conf=config)["Id"])


def _untag(api: Api, reference: str) -> None:
    """Removes an unfinished name from an image that another name or image keeps."""
    with suppress(docker.errors.NotFound):
        try:
            api.remove_image(reference, noprune=True)
        except docker.errors.APIError as error:
            if "dependent child" not in str(error.explanation):
                raise


def _config(image: Content, labels: dict[str, str]) -> dict[str, Any]:
    """Merges our labels into the image's configuration. Docker fills missing keys from the container, hence the []s."""
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
    """Passes an archive on. Raises ImageExportFailed at its end if it is truncated."""
    tail = b""
    for piece in pieces:
        if given_up():
            raise _GivenUp
        tail = (tail + piece)[-_TAR_END:]
        yield piece
    if tail != bytes(_TAR_END):
        raise ImageExportFailed("Docker's export of the container's files was interrupted")


def imported(output: str) -> str:
    """Parses the output of an import, JSON lines; returns the image id."""
    last: Answer = {}
    for line in output.splitlines():
        last = json.loads(line) if line.strip() else last
        if "error" in last:
            raise ImageImportFailed(f"Docker did not import the files: {last['error']}")
    image_id = str(last.get("status", ""))
    if not image_id.startswith("sha256:"):
        raise ImageImportFailed("Docker imported the files but returned no image id")
    return image_id
