"""Checks the two parts of a snapshot's archive that came from elsewhere, before anything uses them.

GNU tar extracts the files as root into a folder of Docker, so no name may lead out of it: neither by "..", nor from
the root, nor through a link. The image is loaded by Docker under its id, for every session: so it has to be exactly
the image of that id, and must bring no name that would replace another image.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from netvps.adapters.docker.content.tar_members import BadArchive, Member, members

MAX_ENTRIES: Final = 2_000_000
_MAX_IMAGE_ENTRIES: Final = 10_000
_MAX_JSON: Final = 8 << 20
_PIECE: Final = 1 << 20
_DEVICES: Final = frozenset(
    {(0, 0), (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (1, 11), (5, 0), (5, 1), (5, 2), (10, 200), (10, 229)}
)
"""Deletions, then null, zero, full, random, urandom, kmsg, tty, console, ptmx, tun, fuse."""
_UUID: Final = "trusted.overlay.uuid"
"""Of the mount; snapshots of earlier versions have it."""
_TRUSTED: Final = {"trusted.overlay.opaque": (b"y", b"x")}


def check_files(archive: Path, volumes: Mapping[str, int], given_up: Callable[[], bool]) -> None:
    """Raises BadArchive unless the archive holds only what extracts inside of its folder."""
    begins = sorted([0, *volumes.values()])
    ends = [*begins[1:], archive.stat().st_size]
    entries = 0
    with archive.open("rb") as content:
        for begin, end in zip(begins, ends, strict=True):
            kinds: dict[str, int] = {}
            for member in members(content, begin, end):
                entries += 1
                if entries > MAX_ENTRIES:
                    raise BadArchive(f"it holds more than {MAX_ENTRIES} files")
                if entries % 1024 == 0 and given_up():
                    raise BadArchive("the import was given up")
                _check(member, kinds)


def check_image(archive: Path, image_id: str) -> None:
    """Raises BadArchive unless an archive of `docker save` holds exactly the image of this id, without names."""
    with archive.open("rb") as content:
        config, layers = image_parts(content, archive.stat().st_size)
        if f"sha256:{_sha256(content, config)}" != image_id:
            raise BadArchive("its image is another one than it says")
        for digest, layer in layers:
            if f"sha256:{_sha256(content, layer)}" != digest:
                raise BadArchive("a layer of its image is damaged")


def image_parts(content: BinaryIO, size: int) -> tuple[Member, list[tuple[str, Member]]]:
    """The configuration of the image in an archive of `docker save`, and the layers, each with its digest.

    Raises BadArchive unless it has one image, without a name. The digests are those that it says.
    """
    found: dict[str, Member] = {}
    for member in members(content, 0, size):
        name = member.name.removeprefix("./").rstrip("/")
        if name in found or len(found) >= _MAX_IMAGE_ENTRIES:
            raise BadArchive("its image has doubled or too many entries")
        found[name] = member
    if "repositories" in found:
        raise BadArchive("its image brings names that could replace other images")
    listed = _json(content, found.get("manifest.json"))
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise BadArchive("it holds not exactly one image")
    if listed[0].get("RepoTags") or _is_named(content, found.get("index.json")):
        raise BadArchive("its image brings names that could replace other images")
    config = _entry(found, listed[0].get("Config"))
    layers = listed[0].get("Layers")
    parsed = _json(content, config)
    expected = parsed.get("rootfs", {}).get("diff_ids") if isinstance(parsed, dict) else None
    if not isinstance(layers, list) or not isinstance(expected, list) or len(layers) != len(expected):
        raise BadArchive("its image lacks layers")
    return config, [(str(digest), _entry(found, layer)) for layer, digest in zip(layers, expected, strict=True)]


def _check(member: Member, kinds: dict[str, int]) -> None:
    """Checks a member, given the kinds of the folders and links before it."""
    shown = member.name.encode(errors="backslashreplace").decode()[:200]
    _check_names(member, shown)
    _check_place(member, kinds, shown)
    if not member.kind:
        _check_hard_link(member, kinds, shown)
    if member.kind == stat.S_IFBLK or (member.kind == stat.S_IFCHR and member.device not in _DEVICES):
        raise BadArchive(f"{shown!r} is a device that sessions do not have")
    for key, value in member.xattrs.items():
        if key.startswith("trusted.") and key != _UUID and value not in _TRUSTED.get(key, ()):
            raise BadArchive(f"{shown!r} has the attribute {key!r}, which is not a session's")


def _check_names(member: Member, shown: str) -> None:
    """The last name is the one that counts; the others are shortened, or of GNU tar's own making for holes."""
    _require_inside(member.names[-1], shown)
    for name in member.names[:-1]:
        if "\0" in name or ".." in name.split("/") or name.startswith("/"):
            raise BadArchive(f"{shown!r} has a name that leads out of its folder")


def _check_place(member: Member, kinds: dict[str, int], shown: str) -> None:
    """A member is in a folder that came before, so that its name goes through no link."""
    path = member.path
    if not kinds and path != "/":
        raise BadArchive("it does not begin with its folder")
    parent = os.path.dirname(path)  # noqa: PTH120 — a name in the archive
    if path != "/" and kinds.get(parent) != stat.S_IFDIR:
        raise BadArchive(f"{shown!r} is not in a folder of the archive")
    if path in kinds:
        raise BadArchive(f"{shown!r} comes twice")
    if member.kind in {stat.S_IFDIR, stat.S_IFLNK}:
        kinds[path] = member.kind


def _check_hard_link(member: Member, kinds: Mapping[str, int], shown: str) -> None:
    for target in member.targets:
        _require_inside(target, shown)
    path = "/" + member.target.removeprefix(".").strip("/")
    if kinds.get(os.path.dirname(path)) != stat.S_IFDIR or kinds.get(path) == stat.S_IFDIR:  # noqa: PTH120
        raise BadArchive(f"{shown!r} links to what is not in the archive")


def _require_inside(name: str, shown: str) -> None:
    parts = name.rstrip("/").split("/")
    if parts[0] != "." or "\0" in name or any(part in {"", ".", ".."} for part in parts[1:]):
        raise BadArchive(f"{shown!r} leads out of its folder")


def _entry(found: Mapping[str, Member], name: Any) -> Member:
    """A file of an image's archive; older engines replace a layer that comes twice by a link to the first."""
    member = found.get(name) if isinstance(name, str) else None
    if member is not None and member.kind == stat.S_IFLNK:
        folder = os.path.dirname(str(name))  # noqa: PTH120
        member = found.get(os.path.normpath(f"{folder}/{member.target}"))
    if member is None or member.kind != stat.S_IFREG or member.size != member.stored:
        raise BadArchive("its image lacks a part")
    return member


def _json(content: BinaryIO, member: Member | None) -> Any:
    if member is None or member.stored > _MAX_JSON:
        raise BadArchive("its image lacks a description, or has one that is too large")
    content.seek(member.offset)
    try:
        return json.loads(content.read(member.stored))
    except (ValueError, RecursionError):
        raise BadArchive("the description of its image is no JSON") from None


def _is_named(content: BinaryIO, index: Member | None) -> bool:
    """Whether an OCI index, which later engines add, names an image."""
    if index is None:
        return False
    found = _json(content, index)
    manifests = found.get("manifests") if isinstance(found, dict) else None
    return not isinstance(manifests, list) or any(
        not isinstance(one, dict) or any("name" in key for key in one.get("annotations") or {}) for one in manifests
    )


def _sha256(content: BinaryIO, member: Member) -> str:
    digest, left = hashlib.sha256(), member.stored
    content.seek(member.offset)
    while left and (piece := content.read(min(_PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()
