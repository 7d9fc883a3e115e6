"""A registry on loopback with an image for each tag: `plain` has busybox alone, `deep` the same in many layers.

The engine takes a registry on loopback without TLS. What it asks of one: docs.docker.com, "Registry HTTP API V2".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from netvps.domain.session.plan import FLATTEN_FROM
from tests.support.images import busybox_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _small_layer(number: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"layer-{number}"))
    return buffer.getvalue()


class Registry:
    """What the engine may ask for, by path."""

    def __init__(self) -> None:
        plain = busybox_archive()
        self._layers = {"plain": [plain], "deep": [plain, *map(_small_layer, range(FLATTEN_FROM))]}
        self._packed = {layer: gzip.compress(layer, compresslevel=1, mtime=0) for layer in self._layers["deep"]}
        self._blobs: dict[str, bytes] = {}
        self.address = ""

    def image(self, name: str, tag: str) -> str:
        """A reference that the engine has to pull: an unused tag."""
        return f"{self.address}/{name}:{tag}"

    def answer(self, path: str) -> tuple[str, bytes]:
        """Content type and content; '' for what is not there."""
        match path.split("/"):
            case ["", "v2", ""]:
                return "application/json", b"{}"
            case ["", "v2", name, "manifests", tag]:
                return _MANIFEST, self._manifest(name, tag)
            case ["", "v2", _, "blobs", digest] if digest in self._blobs:
                return "application/octet-stream", self._blobs[digest]
        return "", b""

    def _manifest(self, name: str, tag: str) -> bytes:
        layers = self._layers[name]
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                # An image of its own for each tag: whoever removes one removes no other's.
                "config": {"Cmd": ["/bin/sh"], "Labels": {"tag": tag}},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
            }
        ).encode()
        packed = [self._packed[layer] for layer in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [self._blob(one, "application/vnd.docker.image.rootfs.diff.tar.gzip") for one in packed],
        }
        return json.dumps(manifest).encode()

    def _blob(self, data: bytes, media_type: str) -> dict[str, str | int]:
        self._blobs[_digest(data)] = data
        return {"mediaType": media_type, "size": len(data), "digest": _digest(data)}


@contextmanager
def running_registry() -> Iterator[Registry]:
    """Serves for the block."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, data = registry.answer(self.path)
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Docker-Content-Digest", _digest(data))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815 — the library's

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        registry.address = f"127.0.0.1:{server.server_port}"
        try:
            yield registry
        finally:
            server.shutdown()
            serving.join()
