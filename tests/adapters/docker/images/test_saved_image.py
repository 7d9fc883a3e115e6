"""Archives of images by their layers, also as engines with other image stores write them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from netvps.adapters.docker.content.tar_members import BadArchive
from netvps.adapters.docker.images.saved_image import SavedImage, load_archive

BASE, TOP = bytes(range(256)) * 5000, b"top" * 100_000


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


CONFIG = json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": [digest(BASE), digest(TOP)]}}).encode()


def saved(path: Path, base: bytes = BASE, top: bytes = TOP, config: bytes = CONFIG) -> Path:
    """An archive whose layers are stored like this."""
    manifest = [{"Config": "config.json", "Layers": ["base/layer.tar", "top/layer.tar"]}]
    files = {"config.json": config, "base/layer.tar": base, "top/layer.tar": top}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (files | {"manifest.json": json.dumps(manifest).encode()}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("stored", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_layers_are_read_as_their_digests_need_them(tmp_path: Path, stored: type[bytes]) -> None:
    image = SavedImage.read(saved(tmp_path / "image.tar", stored(BASE)))
    assert image.config == CONFIG
    assert [name for name, _ in image.layers] == [digest(BASE), digest(TOP)]
    assert image.size(digest(BASE)) == len(BASE)
    for offset in (0, 7, len(BASE)):
        content = image.open_layer(digest(BASE), offset)
        assert content
        with content:
            assert content.read() == BASE[offset:]
    assert image.open_layer("sha256:none") is None


def test_what_lacks_a_layer_is_no_image(tmp_path: Path) -> None:
    config = json.dumps({"rootfs": {"diff_ids": [digest(BASE)]}}).encode()
    with pytest.raises(BadArchive, match="lacks layers"):
        SavedImage.read(saved(tmp_path / "image.tar", config=config))


def test_an_archive_to_load_has_the_name_and_the_layers_that_are_given(tmp_path: Path) -> None:
    layer = tmp_path / "top"
    layer.write_bytes(TOP)
    pieces = load_archive("netvps/dev:1", CONFIG, "abc", (digest(BASE), digest(TOP)), {digest(TOP): layer})
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        names = [f"{digest(one).removeprefix('sha256:')}/layer.tar" for one in (BASE, TOP)]
        assert archive.getnames() == ["abc.json", "manifest.json", names[1]]
        content = archive.extractfile("manifest.json")
        assert content
        expected = {"Config": "abc.json", "RepoTags": ["netvps/dev:1"], "Layers": names}
        assert json.load(content) == [expected]
        content = archive.extractfile(names[1])
        assert content
        assert content.read() == TOP
