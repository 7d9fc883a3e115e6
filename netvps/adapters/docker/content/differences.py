"""Compares the files of a session, as they are now or in an archive, with its image or with each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import docker.errors

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.containers.containers import files_folder
from netvps.adapters.docker.content.tar_members import Member, members
from netvps.adapters.docker.content.walk import Below, Found, Walk, is_excluded, make_trait
from netvps.adapters.docker.errors import ImageImportFailed
from netvps.adapters.docker.files.archives import Note, own_errors
from netvps.adapters.docker.files.copies import Copies
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.adapters.docker.files.volumes import volume_folders
from netvps.domain.runner.docker_names import container_name
from netvps.domain.snapshot.diff import ChangeKind, Diff, DiffOrder, PathChange, Tally, Trait, compare
from netvps.errors import Exhausted, WrongState

MAX_COMPARED: Final = 400_000
"""Paths of one state that are held in memory to compare two states."""
_DISK_BLOCK: Final = 4096
_OPAQUE: Final = "trusted.overlay.opaque"


class Differences:
    """Compares states of sessions, one after the other, as each may have millions of files."""

    def __init__(self, docker: Docker, copies: Copies, snapshots: SnapshotArchives) -> None:
        self._docker = docker
        self._copies = copies
        self._snapshots = snapshots
        self._one = asyncio.Lock()

    async def find(self, session_uid: str, order: DiffOrder) -> Diff:
        """Compares. Raises WrongState if there are no files here, ImageNotFound, and Exhausted if they are too many."""
        live = await self._docker.call(f"files of {session_uid}", lambda api: _places(api, session_uid))
        async with self._one:
            return await asyncio.to_thread(self._find, session_uid, live, order)

    def _find(self, session_uid: str, live: tuple[dict[str, str], Below] | None, order: DiffOrder) -> Diff:
        with own_errors("cannot compare the session's files", ImageImportFailed):
            tally, below = Tally(order.scope), live[1] if live else Below(())
            if order.from_uid:
                before = _held(self._of_snapshot(session_uid, order.from_uid))
                after = self._after(session_uid, live, order)
                compare(before, _held(after), below.has, tally)
                return tally.result(incomplete=False)
            if live and not order.to_uid:
                walk = Walk()
                for change in _present(walk, *live, order.excluded):
                    tally.add(change)
                return tally.result(incomplete=walk.incomplete)
            compare({}, _held(self._after(session_uid, live, order)), below.has, tally)
            return tally.result(incomplete=False)

    def _after(
        self, session_uid: str, live: tuple[dict[str, str], Below] | None, order: DiffOrder
    ) -> Iterator[tuple[str, Trait]]:
        if order.to_uid:
            return self._of_snapshot(session_uid, order.to_uid)
        if live:
            return _of_folders(live[0], order.excluded)
        copy = self._copies.content(session_uid)
        if copy is None:
            raise WrongState(
                "the session has neither a container whose files can be read here nor a copy of its files: start it, "
                "then try again"
            )
        return _of_archive(*copy)

    def _of_snapshot(self, session_uid: str, uid: str) -> Iterator[tuple[str, Trait]]:
        return _of_archive(*self._snapshots.content(session_uid, uid))


def _places(api: Api, session_uid: str) -> tuple[dict[str, str], Below] | None:
    """The folders with what a session wrote, by their paths in it, and the image; None if there is no container."""
    with suppress(docker.errors.NotFound):
        found = api.inspect_container(container_name(session_uid))
        if upper := files_folder(found):
            lower = str(found["GraphDriver"]["Data"].get("LowerDir") or "")
            folders = {"": upper} | volume_folders(api, session_uid, str(found["Id"]))
            return folders, Below([folder for folder in lower.split(":") if folder])
    return None


def _present(walk: Walk, folders: dict[str, str], below: Below, excluded: Iterable[str]) -> Iterator[PathChange]:
    """What the folders hold, compared with the image."""
    left_out = tuple(excluded)
    for at, folder in folders.items():
        under = below if not at else Below(())
        for found in walk.below(folder, at):
            yield from _changes(found, under, out=is_excluded(found.path, left_out))


def _changes(found: Found, below: Below, *, out: bool) -> Iterator[PathChange]:
    path, trait = found.path, found.trait
    if trait.gone:
        yield PathChange(_shown(path), ChangeKind.REMOVED, excluded=out)
        return
    if found.is_folder and found.opaque:
        for name in sorted(below.names(path) - set(found.names)):
            yield PathChange(_shown(f"{path}/{name}"), ChangeKind.REMOVED, excluded=out)
    if not below.has(path):
        yield PathChange(_shown(path), ChangeKind.ADDED, trait.size_bytes, excluded=out)
    elif not found.is_folder or not below.same_folder(path, trait.mark):
        yield PathChange(_shown(path), ChangeKind.CHANGED, trait.size_bytes, excluded=out)


def _of_folders(folders: dict[str, str], excluded: Iterable[str]) -> Iterator[tuple[str, Trait]]:
    walk, left_out = Walk(entries=MAX_COMPARED + 1), tuple(excluded)
    for at, folder in folders.items():
        for found in walk.below(folder, at):
            if not is_excluded(found.path, left_out):
                yield found.path, found.trait
    if walk.incomplete:
        raise _too_many()


def _of_archive(note: Note, archive: Path) -> Iterator[tuple[str, Trait]]:
    ends = [*sorted(note.volumes.values()), archive.stat().st_size]
    parts = [("", 0), *sorted(note.volumes.items(), key=lambda one: one[1])]
    with archive.open("rb") as content:
        for (at, begin), end in zip(parts, ends, strict=True):
            known: dict[str, Trait] = {}
            for member in members(content, begin, end):
                path = at + member.path.rstrip("/")
                if path == at:
                    continue
                trait = _trait(member, known.get("/" + member.target.removeprefix(".").strip("/")))
                known[member.path] = trait  # hard links name an earlier member
                if len(known) > MAX_COMPARED:
                    raise _too_many()
                yield path, trait


def _trait(member: Member, linked: Trait | None) -> Trait:
    if not member.kind:
        return Trait(0, linked.mark if linked else ())
    return make_trait(
        member.kind | member.mode,
        (member.uid, member.gid),
        -(-member.stored // _DISK_BLOCK) * _DISK_BLOCK,
        apparent=member.size,
        mtime_ns=member.mtime_ns,
        target=member.target,
        device=member.device,
    )


def _held(found: Iterable[tuple[str, Trait]]) -> dict[str, Trait]:
    held: dict[str, Trait] = {}
    for path, trait in found:
        held[_shown(path)] = trait
        if len(held) > MAX_COMPARED:
            raise _too_many()
    return held


def _too_many() -> Exhausted:
    return Exhausted(
        f"it holds more than {MAX_COMPARED} files, or reading them takes too long: too much to compare two states",
        reason="TOO_MANY_FILES",
    )


def _shown(path: str) -> str:
    """A path as text; bytes that are not UTF-8 are escaped."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
