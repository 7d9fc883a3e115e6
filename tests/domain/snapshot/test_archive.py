"""The documents of a portable archive: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.snapshot.archive import (
    Blob,
    SnapshotArchive,
    blob_name,
    blob_of,
    documents,
    parse_config,
    parse_index,
    parse_layout,
    parse_manifest,
)
from netvps.errors import InvalidInput

HEX = "a" * 64
ARCHIVE = SnapshotArchive(
    id="one",
    session="dev1.alice",
    architecture="amd64",
    image=f"sha256:{HEX}",
    registry="",
    files=Blob(f"sha256:{HEX}", 10_240),
    image_blob=Blob(f"sha256:{'b' * 64}", 512),
    create_time="2026-01-02T03:04:05+00:00",
    size_bytes=7,
    volumes={"/data": 5120},
    warnings=("no volumes",),
)


@pytest.mark.parametrize(
    "archive", [ARCHIVE, replace(ARCHIVE, image_blob=None, registry=f"registry.example/debian@sha256:{HEX}", id="")]
)
def test_documents_are_read_as_they_were_written(archive: SnapshotArchive) -> None:
    (layout, index, manifest, config) = documents(archive)
    assert [layout[0], index[0]] == ["oci-layout", "index.json"]
    parse_layout(layout[1])
    assert blob_name(parse_index(index[1])) == manifest[0]
    named, files, image = parse_manifest(manifest[1])
    assert (blob_name(named), named) == (config[0], blob_of(config[1]))
    assert parse_config(config[1], files, image) == archive


def _config(**changes: Any) -> bytes:
    return json.dumps(json.loads(documents(ARCHIVE)[3][1]) | changes).encode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "later than 1: upgrade"),
        ({"version": "1"}, "version is missing"),
        ({"image": "debian:12"}, "image is malformed"),
        ({"registry": f"x@sha256:{HEX}"}, "neither holds its image"),
        ({"registry": "-x"}, "registry is malformed"),
        ({"volumes": {"/../data": 512}}, "volumes"),
        ({"volumes": {"/data": 10_240}}, "volumes"),
        ({"volumes": {"/a": 512, "/b": 512}}, "volumes"),
        ({"id": "../x"}, "archive.id"),
        ({"created": "yesterday"}, "time in it is malformed"),
        ({"architecture": ""}, "architecture is malformed"),
    ],
)
def test_a_config_that_is_not_one_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_config(_config(**changes), ARCHIVE.files, ARCHIVE.image_blob)


def test_other_layouts_are_refused() -> None:
    manifest = json.loads(documents(ARCHIVE)[2][1])
    with pytest.raises(InvalidInput, match="no snapshot of netvps"):
        parse_manifest(json.dumps(manifest | {"artifactType": None}).encode())
    with pytest.raises(InvalidInput, match="not the parts"):
        parse_manifest(json.dumps(manifest | {"layers": []}).encode())
    with pytest.raises(InvalidInput, match="not exactly one snapshot"):
        parse_index(b'{"manifests":[]}')
    with pytest.raises(InvalidInput, match="no OCI image layout"):
        parse_layout(b"{}")
    with pytest.raises(InvalidInput, match="size in it is out of bounds"):
        parse_manifest(documents(ARCHIVE)[2][1].replace(b'"size":512', b'"size":-1'))


_KEYS = ("version", "volumes", "image", "registry", "warnings", "config", "layers", "manifests", "artifactType", "id")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=9),
)


@given(_JSON, st.binary(max_size=20))
def test_no_document_makes_anything_else_than_an_error(value: Any, noise: bytes) -> None:
    for content in (json.dumps(value).encode(), noise, b"[" * 100_000):
        for parse in (parse_layout, parse_index, parse_manifest):
            with pytest.raises(InvalidInput):
                parse(content)
        with pytest.raises(InvalidInput):
            parse_config(content, ARCHIVE.files, ARCHIVE.image_blob)
