"""Snapshots as images: commit, or export and import from some depth on; then verify; only then the name.

The latter mostly of the snapshot of a session that is stopped, and given up when that is wanted for something else.

An image has a snapshot's name only once it was verified, so whatever has one is whole. Until then it has the name of
an unfinished one, given in the same call that makes it: a crash leaves what is known by that name, and is removed once
the session is at rest. An image without a name is never removed for its labels: `docker commit` copies them.

What is kept of the image's configuration: all of it. The container's own entrypoint (the agent), user and folder are
ours, and are put back to the image's. Docker merges the container's environment into what it commits, so variables
of the spec are in the snapshot's image too; there they are on the same machine, readable by the same people.
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
from netvps.adapters.docker.containers import parse_time, unchanged
from netvps.adapters.docker.errors import (
    ContainerFailed,
    ContainerNotFound,
    ImageExportFailed,
    ImageImportFailed,
    ImageNotFound,
)
from netvps.adapters.docker.images import Content, Contents
from netvps.adapters.docker.written import need, require_holdable, sizes
from netvps.domain.container import Container, SavedImage
from netvps.domain.docker_names import (
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
from netvps.domain.session import Snapshot
from netvps.faults import fault_point

log = structlog.get_logger()

_CHUNK = 1 << 20
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

    async def commit(
        self, container: Container, labels: dict[str, str], *, flatten: bool, given_up: Callable[[], bool]
    ) -> str | None:
        """Makes an image of a container that does not run; returns its id once it is verified.

        None if it was `given_up` before Docker was asked, or if the container was started meanwhile: then the image, of
        files that changed while it was made, is removed. Raises DiskFull before it begins, ImageExportFailed.
        """
        what = f"snapshot of container {container.id[:12]}"
        below = await self._docker.call(what, lambda api: self._below(api, container.id))
        await self.tidy(labels[LABEL_SESSION])
        root = await self._docker.root_dir()
        make = partial(self._flatten, given_up=given_up) if flatten else self._commit

        def work(api: Api) -> str | None:
            # Asked last: Docker would pause a container that runs for as long as the commit takes.
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

    async def flatten(self, snapshot: Snapshot, labels: dict[str, str], given_up: Callable[[], bool]) -> str | None:
        """Makes an image of one layer of what a snapshot holds; its id once it is verified. Raises DiskFull.

        None while another is being made, and as soon as it is `given_up`, which is asked in a thread.
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
        """Removes the container that an interrupted flattening left."""
        what = f"container {flatten_name(session_uid)}"
        await self._docker.call(what, lambda api: self._remove_helper(api, session_uid))

    async def tidy(self, session_uid: str) -> None:
        """Removes what interrupted snapshots left. Not while one is made: a session has one at a time."""
        for reference, _ in await self._named(session_uid):
            if is_unfinished_image(reference):
                log.info("what an interrupted snapshot left is removed", session=session_uid, image=reference)
                await self._remove_image(reference)

    async def name(self, session_uid: str, image_id: str) -> SavedImage:
        """Gives a verified image the snapshot's name, one that is free."""
        return await self._docker.call(f"snapshot of {session_uid}", lambda api: self._name(api, session_uid, image_id))

    async def prune(self, images: tuple[SavedImage, ...]) -> None:
        """Takes the names of snapshots away: Docker frees layers that no other image needs."""
        for image in images:
            await self._remove_image(image.snapshot.image)

    async def erase(self, session_uid: str, digest: str = "") -> None:
        """Removes all images of a session that have names of ours; whoever made images of them keeps theirs.

        Also the one that is recorded as its snapshot, by its id (`digest`), if somebody took its name away.
        """
        for reference, _ in await self._named(session_uid):
            await self._remove_image(reference)
        if digest:
            nameless = await self._docker.call(digest, lambda api: self._nameless(api, session_uid, digest))
            if nameless:
                await self._remove_image(digest)

    async def _named(self, session_uid: str) -> list[tuple[str, str]]:
        """Names of ours, and ids, of a session's images, the latest first."""
        return await self._docker.call(
            f"images of {session_uid}",
            lambda api: [(name, str(one["Id"])) for name, one in self._images(api, session_uid)],
        )

    def labels(self, uid: str, session_uid: str, epoch: int, generation: int, run: str) -> dict[str, str]:
        """Labels of a snapshot's image."""
        ours = session_labels(session_uid, self._node, epoch, generation)
        return ours | {LABEL_SNAPSHOT: uid, LABEL_RUN: run}

    def _below(self, api: Api, container_id: str) -> Content:
        return self._contents.get(api, str(api.inspect_container(container_id)["Image"]))

    def _commit(self, api: Api, container_id: str, below: Content, labels: dict[str, str], root: str) -> str:
        made = _committed(api, container_id, _config(below, labels), labels)
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
        """All files as one layer; the configuration comes back by a commit of a container that never runs."""
        need(sizes(api, container_id).get("SizeRootFs"), root)
        session_uid = labels[LABEL_SESSION]
        # Labelled and named from its birth, so that it is found should this process die right here.
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
        """A session's images, the latest first, by each of their names that is ours; others have names of theirs."""
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
        """Whether a session's image has no name, neither of ours nor anybody's."""
        found = [image for image in self._labelled(api, session_uid) if image["Id"] == image_id]
        return bool(found) and all(name == _NO_NAME for name in found[0].get("RepoTags") or ())

    def _remove_helper(self, api: Api, session_uid: str) -> None:
        """Removes the container of a flattening, if it is this runner's."""
        name = flatten_name(session_uid)
        with suppress(docker.errors.NotFound):
            found = api.inspect_container(name)
            if session_of("container", name, found["Config"].get("Labels"), self._node) == session_uid:
                api.remove_container(found["Id"], force=True)

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
            await self._docker.call_slowly(
                f"image {reference}", lambda api: api.remove_image(reference, force=True), work=Work.REMOVAL
            )
        except (ImageNotFound, ContainerNotFound):
            pass
        except ContainerFailed as error:
            # Somebody made something of their own from it: then it is theirs, too.
            if "image is being used" not in error.message and "dependent child" not in error.message:
                raise


def _helper(api: Api, session_uid: str, image_id: str, labels: dict[str, str]) -> str:
    """A container that never runs; labelled like the rest of the session: what a crash leaves is found by that."""
    name = flatten_name(session_uid)
    made = api.create_container(image_id, name=name, entrypoint=["/none"], labels=labels, network_disabled=True)
    return str(made["Id"])


def _committed(api: Api, container_id: str, config: dict[str, Any], labels: dict[str, str]) -> str:
    """Makes an image of a container, under the name of an unfinished snapshot; returns its id."""
    unfinished = unfinished_image(labels[LABEL_SESSION], labels[LABEL_SNAPSHOT])
    repository, _, tag = unfinished.rpartition(":")
    return str(api.commit(container_id, repository=repository, tag=tag, conf=config)["Id"])


def _untag(api: Api, reference: str) -> None:
    """Takes an unfinished name off an image that another name, or another image, keeps."""
    with suppress(docker.errors.NotFound):
        try:
            api.remove_image(reference, noprune=True)
        except docker.errors.APIError as error:
            if "dependent child" not in str(error.explanation):
                raise


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
