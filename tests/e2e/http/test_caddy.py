"""URLs of a session behind Caddy with its own CA: names, HTTP/1.1 and 2, WebSocket, events, uploads."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.system import System, docker, new_system, unique

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

CADDYFILE = Path(__file__).parents[3] / "deploy/caddy/Caddyfile.apps"
APP = Path(__file__).with_name("app")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Caddy:
    """Caddy in front of a system with a session dev1, whose owner is root."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system, self.port, self._folder = system, free_port(), folder
        self.ca = folder / "caddy/pki/authorities/local/root.crt"
        self.host = f"dev1--{getpass.getuser()}.apps.test"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = f"local_certs\nskip_install_trust\nhttp_port {free_port()}\nhttps_port {self.port}"
        environment = {
            "NETVPS_APPS": f"127.0.0.1:{self.system.ports['apps']}",
            "NETVPS_CADDY_OPTIONS": options,
            "XDG_DATA_HOME": str(self._folder),
            "XDG_CONFIG_HOME": str(self._folder),
        }
        command = ("caddy", "run", "--adapter", "caddyfile", "--config", str(CADDYFILE))
        self._process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while not (self.ca.exists() and listens(self.port)):
            assert time.monotonic() < until, "caddy does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    @contextmanager
    def connection(self) -> Iterator[ssl.SSLSocket]:
        """A connection to the host of dev1, for HTTP/1.1."""
        context = ssl.create_default_context(cafile=str(self.ca))
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        with context.wrap_socket(plain, server_hostname=self.host) as client:
            yield client

    def curl(self, path: str, *options: str, host: str = "", check: bool = True) -> str:
        """What curl prints of a URL, with the CA of Caddy alone."""
        name = host or self.host
        to = ("--resolve", f"{name}:{self.port}:127.0.0.1", "--cacert", str(self.ca), "--max-time", "60")
        command = ("curl", "-sS", *to, *options, f"https://{name}:{self.port}{path}")
        answer = subprocess.run(command, capture_output=True, check=False, timeout=90)
        assert not check or answer.returncode == 0, answer.stderr.decode()
        return answer.stdout.decode() if answer.returncode == 0 else f"curl: {answer.returncode}"


@pytest.fixture(scope="module")
def caddy(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    folder, image = tmp_path_factory.mktemp("caddy"), unique("nve-app")
    build = ("go", "build", "-o", str(folder / "app"), str(APP / "main.go"))
    subprocess.run(build, env=os.environ | {"CGO_ENABLED": "0"}, check=True, timeout=120, cwd=APP)
    (folder / "Dockerfile").write_text(f'FROM {busybox}\nCOPY app /app\nCMD ["/app"]\n')
    docker("build", "-t", image, str(folder))
    system = new_system()
    made = Caddy(system, folder)
    try:
        url = f"https://apps.test:{made.port}"
        system.up("--default-image", busybox, "--apps-url", url, "--apps-proxies", "127.0.0.1")
        system.netvps("create", "dev1", "--image", image, "--entrypoint")
        made.start()
        yield made
    finally:
        made.stop()
        system.destroy()
        docker("rmi", "-f", image, check=False)
        shutil.rmtree(folder)


def test_names_get_certificates_while_they_are_served(caddy: Caddy) -> None:
    assert caddy.curl("/", host=caddy.host.replace("dev1", "dev9"), check=False) == "curl: 35", (
        "no certificate for what is not there"
    )
    assert caddy.curl("/", host="shop.test", check=False) == "curl: 35"
    assert "log in" in caddy.curl("/")
    caddy.system.netvps("url", "add", "dev1", "--public")
    caddy.system.netvps("url", "add", "dev1", "--name", "shop.test", "--public")
    assert caddy.curl("/", host="shop.test").split()[:2] == [f"shop.test:{caddy.port}", "https"]
    for version in ("--http1.1", "--http2"):
        said = caddy.curl("/", version, "-b", "__Host-netvps=x; own=y").split()
        assert said == [f"{caddy.host}:{caddy.port}", "https", "127.0.0.1,", "127.0.0.1", "own=y"]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_an_upload_in_chunks_arrives_whole(caddy: Caddy, tmp_path: Path, version: str) -> None:
    caddy.system.netvps("url", "add", "dev1", "--public")
    data = os.urandom(8 << 20)
    (tmp_path / "data").write_bytes(data)
    chunked = ("-H", "Transfer-Encoding: chunked") if version == "--http1.1" else ()
    said = caddy.curl("/upload", version, *chunked, "-X", "POST", "-T", str(tmp_path / "data"))
    assert said.split()[1] == hashlib.sha256(data).hexdigest()


def test_events_arrive_while_the_answer_goes_on(caddy: Caddy) -> None:
    caddy.system.netvps("url", "add", "dev1", "--public")
    with caddy.connection() as client:
        client.sendall(f"GET /events HTTP/1.1\r\nHost: {caddy.host}\r\n\r\n".encode())
        received = b""
        while b"data: first\n\n" not in received:
            piece = client.recv(9999)
            assert piece
            received += piece


def test_a_websocket_passes_and_ends_with_its_url(caddy: Caddy) -> None:
    caddy.system.netvps("url", "add", "dev1", "--public")
    with caddy.connection() as client:
        client.sendall(f"GET /echo HTTP/1.1\r\nHost: {caddy.host}\r\n".encode())
        client.sendall(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.recv(9999).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"x")
        assert client.recv(9) == b"x"
        caddy.system.netvps("url", "rm", "dev1", "8080")
        try:
            rest = client.recv(9)
        except OSError:
            rest = b""
        assert rest == b""
    assert "log in" in caddy.curl("/")
