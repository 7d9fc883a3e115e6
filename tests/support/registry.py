"""Debian's docker-registry on loopback, with or without a password; and registries that are slow or say nothing."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USER, PASSWORD = "puller", "right-password"
_HASH: Final = "$2y$04$abcdefghijklmnopqrstuuS80hwFD6gSIL20SCUGvmL7S939BjOHW"
_PROGRAM: Final = "docker-registry"
_WAIT_SECONDS: Final = 20.0


def lacks_registry() -> str:
    """Why there is no registry here; '' if there can be one."""
    return "" if shutil.which(_PROGRAM) else f"no {_PROGRAM}"


@contextmanager
def registry(
    *, password: bool = False, data: Path | None = None, deletes: bool = True, inside: Sequence[str] = ()
) -> Iterator[str]:
    """A registry; yields HOST:PORT. With `password` it asks for USER and PASSWORD. `data` is its folder.

    `inside` is a command that runs it in another network, where it is not waited for.
    """
    with tempfile.TemporaryDirectory(prefix="nv-registry-") as name:
        folder = Path(name)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
        login = f"\nauth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}" if password else ""
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: "
            f"{data or folder / 'data'}}}, delete: {{enabled: {str(deletes).lower()}}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}', secret: none}}{login}\n"
        )
        with subprocess.Popen(
            [*inside, _PROGRAM, "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                if not inside:
                    _await(port)
                yield f"127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(timeout=20)


def push(reference: str) -> None:
    """Pushes an image of Docker's to a registry with a password; the login is in no file but a temporary one."""
    with tempfile.TemporaryDirectory(prefix="nv-docker-") as folder:
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config = {"auths": {reference.partition("/")[0]: {"auth": login}}}
        Path(folder, "config.json").write_text(json.dumps(config))
        subprocess.run(["docker", "--config", folder, "push", "-q", reference], check=True, timeout=60)


@contextmanager
def silent_registry() -> Iterator[str]:
    """Takes connections and never answers; yields HOST:PORT."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in held:
                connection.close()


@contextmanager
def stalling(registry: str, after: int) -> Iterator[tuple[str, threading.Event]]:
    """Leads to a registry; yields HOST:PORT and an event.

    As long as the event is not set, each connection stands still after that number of bytes from the registry.
    """
    host, _, port = registry.partition(":")
    flows = threading.Event()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((host, int(port))) as there:
                threading.Thread(target=_pass_on, args=(self.request, there), daemon=True).start()
                given = 0
                while data := there.recv(4096):
                    given += len(data)
                    if given > after:
                        flows.wait(_WAIT_SECONDS)
                    self.request.sendall(data)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", flows
    finally:
        flows.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _await(port: int) -> None:
    """Waits until it answers, with or without asking for a login."""
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.05)
        else:
            return
