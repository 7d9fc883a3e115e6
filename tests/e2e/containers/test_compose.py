"""The folders of `netvps init`, with images that are built from deploy/Dockerfile without a registry."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.system import NETVPS, Account, docker, free_ports, unique
from tests.support.images import archive_with, import_image

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.docker, pytest.mark.netns),
    pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed"),
]

NAME = "vps.test"


@dataclass(frozen=True)
class Shape:
    """A folder of `netvps init` that runs, and the person who uses it."""

    folder: Path
    person: Account
    project: str
    server: str
    """The service that has the API's socket."""

    def compose(self, *words: str, check: bool = True) -> str:
        """Runs docker-compose, whose settings are those of the folder alone."""
        command = ["docker-compose", "--project-directory", str(self.folder), "-f", f"{self.folder}/compose.yml"]
        command += ["--env-file", f"{self.folder}/.env", "-p", self.project, *words]
        operator = Account(self.person.home, {})
        return operator.run(*command, check=check, timeout=240).stdout.decode()

    def containers(self) -> dict[str, dict[str, Any]]:
        """What Docker knows of each service's container."""
        ids = self.compose("ps", "-q").split()
        found = json.loads(docker("inspect", *ids)) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def netvps(self, *words: str) -> str:
        """Runs `netvps` beside the server."""
        own = self.containers()[self.server]["Id"]
        return self.person.run("docker", "exec", "-i", own, "netvps", *words, stdin=subprocess.DEVNULL).stdout.decode()

    def ssh(self, user: str, *command: str) -> str:
        """Runs a command by plain ssh."""
        port = self.person.environment["NETVPS_SSH_PORT"]
        options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
        options += ["-o", f"UserKnownHostsFile={self.person.home}/known", "-i", str(self.person.key()), "-p", port]
        return self.person.run("ssh", *options, f"{user}@127.0.0.1", *command, stdin=subprocess.DEVNULL).stdout.decode()


@pytest.fixture(params=[("all-in-one", "netvps"), ("server-runners", "server")], ids=lambda param: param[0])
def shape(request: pytest.FixtureRequest, images: dict[str, str]) -> Iterator[Shape]:
    """A shape that runs, in folders and on ports of its own."""
    name, server = request.param
    with tempfile.TemporaryDirectory(prefix="nvc-") as folder:
        place = Path(folder)
        ports = {f"NETVPS_{name.upper()}_PORT": str(port) for name, port in free_ports().items()}
        ports["NETVPS_METRICS_PORT"] = str(free_ports()["http"])
        used = {f"{target.upper().replace('-', '_')}_IMAGE": image for target, image in images.items()}
        folders = {"NETVPS_STATE": f"{place}/s", "NETVPS_RUN": f"{place}/r"}
        (place / "home").mkdir()
        person = Account(place / "home", ports | used | folders)
        made = Shape(place / "netvps", person, unique("nvc"), server)
        started = person.run(*NETVPS, "init", "--shape", name, str(made.folder)).stdout.decode()
        assert started == f"cd {made.folder} && docker-compose up -d\n"
        try:
            made.compose("up", "-d")
            yield made
        finally:
            sys.stderr.write(made.compose("logs", "--no-color", "--tail", "50", check=False))
            made.compose("down", "-v", "-t", "30", check=False)
            _remove_network(person)


def _remove_network(person: Account) -> None:
    """What a runner leaves on its machine: the overlay."""
    person.run(*NETVPS, "network", "purge", "--force", check=False)


@pytest.fixture
def served(images: dict[str, str]) -> Iterator[Shape]:
    """The shape for browsers, with this machine's Caddy and its own CA."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed")
    own = unique("nvc-caddy")
    with tempfile.TemporaryDirectory(prefix="nvc-") as folder:
        place = Path(folder)
        import_image(archive_with([(Path(caddy), "/usr/bin/caddy")]), own)
        ports = {f"NETVPS_{name.upper()}_PORT": str(port) for name, port in free_ports().items() if name != "http"}
        ports |= {"NETVPS_HTTPS_PORT": str(free_ports()["api"]), "NETVPS_REDIRECT_PORT": str(free_ports()["http"])}
        used = {"NETVPS_SERVER_IMAGE": images["netvps-server"], "NETVPS_CADDY_IMAGE": own}
        (place / "home").mkdir()
        person = Account(place / "home", ports | used | {"NETVPS_CADDY_OPTIONS": "local_certs"})
        made = Shape(place / "netvps", person, unique("nvc"), "server")
        person.run(*NETVPS, "init", "--shape", "server-auth", "--public-name", NAME, str(made.folder))
        try:
            made.compose("--profile", "caddy", "up", "-d")
            yield made
        finally:
            sys.stderr.write(made.compose("--profile", "caddy", "logs", "--no-color", "--tail", "50", check=False))
            made.compose("--profile", "caddy", "down", "-v", "-t", "10", check=False)
            docker("rmi", "-f", own, check=False)


def test_browsers_log_in_behind_caddy(served: Shape) -> None:
    _await_healthy(served, without="caddy")
    caddy = served.containers()["caddy"]["Id"]
    certificate = "/data/caddy/pki/authorities/local/root.crt"
    authority = docker("exec", caddy, "sh", "-c", f"until cat {certificate} 2>/dev/null; do sleep 0.2; done")
    assert _https(served, authority, "GET", "/readyz") == (200, "ready\n")
    assert _https(served, authority, "GET", "/metrics")[0] == 404
    served.netvps("user", "add", "alice")
    key = served.netvps("user", "api-key", "alice").strip()
    status, answer = _https(served, authority, "POST", "/login", json.dumps({"key": key}))
    assert (status, json.loads(answer)["user"]) == (200, "alice")
    assert _https(served, authority, "POST", "/login", json.dumps({"key": f"{key[:-4]}xxxx"}))[0] == 403
    _check_restrictions(served)


def _https(shape: Shape, authority: str, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """Asks as a browser does that trusts this authority."""
    port = int(shape.person.environment["NETVPS_HTTPS_PORT"])
    connection = http.client.HTTPSConnection("127.0.0.1", port)
    context = ssl.create_default_context(cadata=authority)
    connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30), server_hostname=NAME)
    with closing(connection):
        headers = {"Host": f"{NAME}:{port}", "Origin": f"https://{NAME}:{port}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_each_shape_runs_sessions_with_its_restrictions(shape: Shape, busybox: str) -> None:
    _await_healthy(shape)
    key = shape.person.key().with_suffix(".pub").read_text()
    own = shape.containers()[shape.server]["Id"]
    shape.person.run("docker", "exec", "-i", own, "netvps", "key", "add", "-", input=key.encode())
    shape.netvps("create", "dev1", "--image", busybox)
    try:
        assert shape.ssh("dev1", "echo kept > /root/file; id -u") == "0\n"
        shape.netvps("stop", "dev1")
        shape.netvps("start", "dev1")
        assert shape.ssh("dev1", "cat /root/file") == "kept\n"
        problems = json.loads(shape.netvps("runner", "ls", "-o", "json"))[0].get("overlayProblems", [])
        assert not [problem for problem in problems if "sysctl" in problem["message"]]
        _check_restrictions(shape)
        _check_secrets(shape)
    finally:
        shape.netvps("rm", "--yes", "dev1")
    shape.compose("down", "-v", "-t", "30")
    for kind in ("container", "volume", "network"):
        listed = docker(kind, "ls", *(["-a"] if kind == "container" else []), "--filter", f"name={shape.project}", "-q")
        assert listed == ""


def _await_healthy(shape: Shape, without: str = "join") -> None:
    """Until each is healthy; a container that had to be restarted is a failure."""
    limit = 150
    command = ["timeout", str(limit), "sh", "-c", _UNTIL_HEALTHY, "sh"]
    names = [one["Id"] for service, one in shape.containers().items() if service != without]
    done = subprocess.run([*command, *names], capture_output=True, check=False)
    assert done.returncode == 0, f"not healthy within {limit} s: {docker('ps', '-a')}"


_UNTIL_HEALTHY = """
for id; do
  until state=$(docker inspect -f '{{.State.Health.Status}} {{.RestartCount}}' "$id"); [ "$state" = "healthy 0" ]; do
    case "$state" in *" 0") sleep 0.2 ;; *) exit 1 ;; esac
  done
done
"""


def _check_restrictions(shape: Shape) -> None:
    for service, container in shape.containers().items():
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["Privileged"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        if service in {"server", "join", "web"}:
            assert container["Config"]["User"] == "65532:65532"
            assert not host["CapAdd"]
            assert not [mount for mount in container["Mounts"] if "docker.sock" in mount["Source"]]


def _check_secrets(shape: Shape) -> None:
    """Neither Docker nor the environment of a process has a secret; the server's keys are its own."""
    shown = json.dumps(shape.containers())
    token = shape.netvps("runner", "join-token").strip()
    assert token.startswith("nvj_")
    assert "nvj_" not in shown
    assert "nv_" not in shown.replace("nv_data", "")
    for container in shape.containers().values():
        if not container["State"]["Running"]:
            continue
        for process in docker("top", container["Id"], "-eo", "pid").split()[1:]:
            with suppress(OSError):
                content = (
                    Path("/proc", process, "environ").read_bytes() + Path("/proc", process, "cmdline").read_bytes()
                )
                assert b"nvj_" not in content
                assert b"PRIVATE KEY" not in content
