"""The pods of deploy/helm/netvps, with the images of deploy/Dockerfile, on Docker in place of a cluster."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.e2e.containers import pods
from tests.e2e.system import NETVPS, Account, docker, free_ports, unique
from tests.project.deploy.test_helm import rendered

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.netns]

NODE = "node1"


def test_server_and_runner_serve_a_session_with_what_the_chart_allows(images: dict[str, str], busybox: str) -> None:
    ports, server, runner = free_ports(), unique("nvp-server"), unique("nvp-runner")
    with tempfile.TemporaryDirectory(prefix="nvp-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # for the account of the server, which this machine does not have
        person = Account(_made(place, "home"))
        manifests = {one["kind"]: one for one in rendered(_values(images, place, ports))}
        try:
            folders = {name: _made(place, "server", name) for name in ("state", "config", "run", "tmp")}
            (folders["config"] / "netvps.toml").write_text(manifests["ConfigMap"]["data"]["netvps.toml"])
            pod = manifests["Deployment"]["spec"]["template"]["spec"]
            pods.start(server, pod, ports, folders)
            pods.await_ready(server, pod, ports)
            assert pods.is_alive(pod, ports)
            folders = {name: _made(place, "runner", name) for name in ("join", "tmp")}
            token = folders["join"] / NODE
            token.touch(mode=0o400)
            token.write_text(_netvps(server, "runner", "join-token"))
            pod = manifests["DaemonSet"]["spec"]["template"]["spec"]
            pods.start(runner, pod, {}, folders, NODE)
            pods.await_ready(runner, pod, {})
            assert pods.is_alive(pod, {})
            _use_a_session(server, person, ports["ssh"], busybox)
        finally:
            for name in (runner, server):
                docker("stop", "-t", "30", name, check=False)
                docker("rm", "-fv", name, check=False)
            person.run(*NETVPS, "network", "purge", "--force", check=False)


def _made(place: Path, *names: str) -> Path:
    folder = place.joinpath(*names)
    folder.mkdir(parents=True)
    return folder


def _values(images: dict[str, str], place: Path, ports: dict[str, int]) -> list[str]:
    values = ["runner.enabled=true", "runner.joinTokens.existingSecret=tokens", "server.settings=audit_days = 90"]
    for name in ("server", "runner"):
        repository, _, tag = images[f"netvps-{name}"].rpartition(":")
        values += [f"{name}.image.repository={repository}", f"{name}.image.tag={tag}"]
    values += [f"runner.server=127.0.0.1:{ports['api']}", f"runner.link=127.0.0.1:{ports['link']}"]
    values += [f"runner.metricsPort={free_ports()['http']}"]
    return [*values, f"runner.stateDir={place}/s", f"runner.runtimeDir={place}/r"]


def _netvps(server: str, *words: str, stdin: str = "") -> str:
    command = ["docker", "exec", "-i", server, "netvps", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _use_a_session(server: str, person: Account, port: int, image: str) -> None:
    _netvps(server, "key", "add", "-", stdin=person.key().with_suffix(".pub").read_text())
    _netvps(server, "create", "dev1", "--image", image)
    try:
        options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-p", str(port)]
        options += ["-o", f"UserKnownHostsFile={person.home}/known", "-i", str(person.key())]
        assert person.run("ssh", *options, "dev1@127.0.0.1", "id -u").stdout == b"0\n"
        (found,) = json.loads(_netvps(server, "runner", "ls", "-o", "json"))
        problems = [problem["message"] for problem in found.get("overlayProblems", [])]
        assert not [problem for problem in problems if "sysctl" in problem]  # another runner may have the overlay
    finally:
        _netvps(server, "rm", "--yes", "dev1")
