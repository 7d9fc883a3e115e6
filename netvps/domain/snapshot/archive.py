"""The portable archive of a snapshot: an OCI image layout (v1.0) with one artifact, as a tar file in one zstd frame.

    oci-layout
    index.json                  names the manifest
    blobs/sha256/MANIFEST       names the config and the layers, with digests and sizes
    blobs/sha256/CONFIG         what is known of the snapshot, with the version of this format
    blobs/sha256/FILES          what the session wrote: tar archives end to end, of its files and of each volume
    blobs/sha256/IMAGE          the image below, as `docker save` writes it; absent if a registry has it

The members come in this order, so that each blob can be checked while it is received. Parsing trusts nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from netvps.domain.names import SNAPSHOT_ID_MAX, check_label
from netvps.errors import InvalidInput

VERSION: Final = 1
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
MAX_DOCUMENT: Final = 1 << 20
"""Bytes of one JSON document."""
MAX_BYTES: Final = 1 << 40
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_ARTIFACT: Final = "application/vnd.netvps.snapshot.v1"
_CONFIG: Final = "application/vnd.netvps.snapshot.config.v1+json"
_FILES: Final = "application/vnd.netvps.snapshot.files.v1.tar"
_IMAGE: Final = "application/vnd.netvps.snapshot.image.v1.tar"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]{0,254}@sha256:[0-9a-f]{64}")
_ARCHITECTURE: Final = re.compile(r"[a-z0-9]{1,32}")
_VOLUME: Final = re.compile(r"(?:/[^/\x00]+)+")
_MAX_VOLUMES: Final = 100
_MAX_WARNINGS, _MAX_WARNING = 32, 1000
_REMEDY: Final = "export it again with netvps snapshot export NAME SNAPSHOT FILE"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob by its digest, "sha256:…", and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class SnapshotArchive:
    """What an archive holds, as its documents say."""

    id: str
    """SNAPSHOT when it was exported."""
    session: str
    """"NAME.OWNER" when it was exported."""
    architecture: str
    """As in an OCI image: amd64, arm64, …"""
    image: str
    """Id of the image below."""
    registry: str
    """NAME@DIGEST of that image in a registry; '' if the archive holds it."""
    files: Blob
    image_blob: Blob | None
    create_time: str
    """When the files were read, as ISO 8601."""
    size_bytes: int = 0
    volumes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def documents(archive: SnapshotArchive) -> list[tuple[str, bytes]]:
    """The names and contents of an archive's documents, in order."""
    config = _json(
        {
            "version": VERSION,
            "id": archive.id,
            "session": archive.session,
            "created": archive.create_time,
            "architecture": archive.architecture,
            "image": archive.image,
            "registry": archive.registry,
            "volumes": dict(archive.volumes),
            "sizeBytes": archive.size_bytes,
            "warnings": list(archive.warnings),
        }
    )
    layers = [_descriptor(_FILES, archive.files)]
    layers += [_descriptor(_IMAGE, archive.image_blob)] if archive.image_blob else []
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": _ARTIFACT,
            "config": _descriptor(_CONFIG, blob_of(config)),
            "layers": layers,
        }
    )
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [_descriptor(_MANIFEST, blob_of(manifest))]})
    return [
        ("oci-layout", LAYOUT),
        ("index.json", index),
        (blob_name(blob_of(manifest)), manifest),
        (blob_name(blob_of(config)), config),
    ]


def blob_of(content: bytes) -> Blob:
    """The digest and size of a document."""
    return Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def blob_name(blob: Blob) -> str:
    """The name of a blob in the layout."""
    return f"blobs/sha256/{blob.digest.removeprefix('sha256:')}"


def parse_layout(content: bytes) -> None:
    """Checks the document oci-layout. Raises InvalidInput."""
    _require(_object(content).get("imageLayoutVersion") == "1.0.0", "it is no OCI image layout of version 1.0.0")


def parse_index(content: bytes) -> Blob:
    """The manifest that an index names. Raises InvalidInput."""
    manifests = _list(_object(content).get("manifests"))
    _require(len(manifests) == 1, "it holds not exactly one snapshot")
    return _blob(manifests[0], _MANIFEST)


def parse_manifest(content: bytes) -> tuple[Blob, Blob, Blob | None]:
    """The config, the files and the image that a manifest names. Raises InvalidInput."""
    manifest = _object(content)
    kind = manifest.get("artifactType")
    _require(kind == _ARTIFACT, f"it holds {str(kind)[:80]!r}, and no snapshot of netvps")
    layers = _list(manifest.get("layers"))
    _require(1 <= len(layers) <= 2, "it holds not the parts of a snapshot")  # noqa: PLR2004 — files, image
    image = _blob(layers[1], _IMAGE) if len(layers) > 1 else None
    return _blob(manifest.get("config"), _CONFIG), _blob(layers[0], _FILES), image


def parse_config(content: bytes, files: Blob, image_blob: Blob | None) -> SnapshotArchive:
    """The archive that a config describes. Raises InvalidInput, also for a later version of the format."""
    config = _object(content)
    version = config.get("version")
    _require(isinstance(version, int) and version >= 1, "its version is missing")
    _require(version == VERSION, f"it has version {version} of the format, later than {VERSION}: upgrade this netvps")
    volumes, warnings = config.get("volumes", {}), config.get("warnings", [])
    _require(_are_volumes(volumes, files.size), "its volumes are not where an archive has them")
    _require(isinstance(warnings, list) and len(warnings) <= _MAX_WARNINGS, "its warnings are no short list")
    image, registry = _text(config, "image", _DIGEST), _text(config, "registry", _REFERENCE, "")
    _require(bool(registry) is (image_blob is None), "it neither holds its image nor names it in a registry")
    snapshot_id = str(config.get("id") or "")
    if snapshot_id:
        check_label(snapshot_id, "archive.id", SNAPSHOT_ID_MAX)
    size = config.get("sizeBytes", 0)
    return SnapshotArchive(
        id=snapshot_id,
        session=str(config.get("session") or "")[:200],
        architecture=_text(config, "architecture", _ARCHITECTURE),
        image=image,
        registry=registry,
        files=files,
        image_blob=image_blob,
        create_time=_time(config.get("created")),
        size_bytes=size if isinstance(size, int) and 0 <= size <= MAX_BYTES else 0,
        volumes=volumes,
        warnings=tuple(str(warning)[:_MAX_WARNING] for warning in warnings),
    )


def unfit(why: str) -> InvalidInput:
    """The error for an archive that is not one, or not a safe one."""
    return InvalidInput.of("archive", f"{why}; {_REMEDY}")


def _descriptor(kind: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise unfit("a document in it is no JSON object")
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _blob(value: Any, kind: str) -> Blob:
    _require(isinstance(value, dict) and value.get("mediaType") == kind, f"it lacks a part of the type {kind}")
    digest, size = value.get("digest"), value.get("size")
    _require(isinstance(digest, str) and bool(_DIGEST.fullmatch(digest)), "a digest in it is malformed")
    _require(type(size) is int and 0 < size <= MAX_BYTES, "a size in it is out of bounds")
    return Blob(digest, size)


def _text(config: Mapping[str, Any], key: str, form: re.Pattern[str], otherwise: str | None = None) -> str:
    value = config.get(key)
    if not value and otherwise is not None:
        return otherwise
    _require(isinstance(value, str) and bool(form.fullmatch(value)), f"its {key} is malformed")
    return str(value)


def _time(value: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(value)[:64])
    except ValueError:
        raise unfit("the time in it is malformed") from None
    _require(moment.tzinfo is not None, "the time in it has no time zone")
    return moment.isoformat()


def _are_volumes(volumes: Any, size: int) -> bool:
    if not isinstance(volumes, dict) or len(volumes) > _MAX_VOLUMES:
        return False
    paths = all(_VOLUME.fullmatch(path) and not {".", ".."} & set(path.split("/")) for path in volumes)
    offsets = list(volumes.values())
    return paths and all(type(one) is int and 0 < one < size for one in offsets) and len(set(offsets)) == len(offsets)


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise unfit(why)
