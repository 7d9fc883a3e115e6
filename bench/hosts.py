"""Two machines made of namespaces (scripts/lab), and the paths between them that are compared."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.place import NETVPS, run, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAB: Final = Path(__file__).parent.parent / "scripts/lab"
LAB_NAME: Final = "NETVPS_LAB"
_BUSYBOX: Final = Path("/bin/busybox")
IMAGE: Final = "bench/busybox:latest"
_HOSTS: Final = (1, 2)
_PATIENCE: Final = 90.0  # seconds until a started program is ready


@dataclass(frozen=True)
class Route:
    """A path from a client to a server; both are command prefixes that enter network namespaces."""

    client: tuple[str, ...]
    server: tuple[str, ...]
    address: str
    """Of the server."""


@contextmanager
def machines(count: int) -> Iterator[str]:
    """Provides machines with an engine and the image each; yields the name of their lab (scripts/lab)."""
    lab = unique("nvb")
    os.environ[LAB_NAME] = lab
    run(str(LAB), "up", str(count))
    try:
        for host in range(1, count + 1):
            run(*docker_of(lab, host), "import", "--change", 'CMD ["/bin/sh"]', "-", IMAGE, data=busybox())
        yield lab
    finally:
        run(str(LAB), "down")


@contextmanager
def ways() -> Iterator[dict[str, Route]]:
    """Provides the paths: sessions of netvps first, then the references; removes everything afterwards."""
    with ExitStack() as stack:
        lab = stack.enter_context(machines(len(_HOSTS)))
        ours = stack.enter_context(_sessions(lab))
        underlay, by_hand = stack.enter_context(_by_hand(lab))
        yield {"netvps": ours, "VXLAN by hand": by_hand, "Docker Swarm": _swarm(lab), "underlay": underlay}


def docker_of(lab: str, host: int) -> tuple[str, ...]:
    """Returns the prefix of docker's commands on a host; the address of its engine comes last."""
    return "docker", "-H", f"unix:///var/tmp/{lab}/{host}/docker.sock"


def within(namespace: str) -> tuple[str, ...]:
    """Returns the prefix of commands in a network namespace."""
    return "nsenter", f"--net=/run/netns/{namespace}"


def _of_container(lab: str, host: int, name: str) -> tuple[str, ...]:
    pid = run(*docker_of(lab, host), "inspect", "-f", "{{.State.Pid}}", name).strip()
    return "nsenter", "-t", pid, "-n"


@contextmanager
def _sessions(lab: str) -> Iterator[Route]:
    """Runs a server on the first host, and a runner and a session on each."""
    folder = Path(tempfile.mkdtemp(prefix="nvb-"))
    started: list[subprocess.Popen[bytes]] = []

    def env(name: str) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("NETVPS_")}
        places = {"NETVPS_STATE_DIR": f"{folder}/{name}/s", "NETVPS_RUNTIME_DIR": f"{folder}/{name}/r"}
        return inherited | places | {"HOME": str(folder)}

    def start(host: int, name: str, *arguments: str) -> None:
        (folder / name).mkdir()
        with (folder / name / "log").open("wb") as log:
            command = [*within(f"{lab}-{host}"), NETVPS, *arguments]
            started.append(subprocess.Popen(command, env=env(name), stdout=log, stderr=log))

    def netvps(*arguments: str, check: bool = True) -> str:
        return run(NETVPS, *arguments, env=env("server"), check=check)

    try:
        start(1, "server", "server", "--listen", "192.0.2.1", "--drain", "1")
        _await((folder / "server/r/api.sock").exists, folder / "server/log")
        for host in _HOSTS:
            token = folder / f"token{host}"
            token.write_text(netvps("runner", "join-token"))
            joining = ("--server", "192.0.2.1:7443", "--join-token-file", str(token), "--name", f"box{host}")
            start(host, f"box{host}", "runner", *joining, "--docker-host", docker_of(lab, host)[-1])
        _await(lambda: netvps("runner", "ls", check=False).count("ONLINE") == len(_HOSTS), folder / "box1/log")
        found: dict[int, tuple[str, str]] = {}
        for number in range(8):  # placement is the server's
            netvps("create", f"s{number}", "--image", IMAGE, "--network", "overlay")
            shown = json.loads(netvps("show", f"s{number}", "-o", "json"))
            found[int(shown["runner"][-1])] = (f"netvps-vps-{shown['uid']}", shown["address"])
            if len(found) == len(_HOSTS):
                break
        (one, _), (two, address) = (found[host] for host in _HOSTS)
        yield Route(_of_container(lab, 1, one), _of_container(lab, 2, two), address)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        shutil.rmtree(folder)


@contextmanager
def _by_hand(lab: str) -> Iterator[tuple[Route, Route]]:
    """Provides the bare underlay and a VXLAN made by `ip`: hosts without Docker and without a filter."""
    names = [f"{lab}-{kind}{host}" for host in _HOSTS for kind in ("bare", "inner")]
    with ExitStack() as stack:
        for name in names:
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
        for host in _HOSTS:
            _host_by_hand(lab, host)
        for host in _HOSTS:
            _peer_by_hand(lab, host, 3 - host)
        inner = [within(f"{lab}-inner{host}") for host in _HOSTS]
        outer = [within(f"{lab}-bare{host}") for host in _HOSTS]
        yield Route(outer[0], outer[1], "192.0.2.102"), Route(inner[0], inner[1], "10.200.2.2")


def _host_by_hand(lab: str, host: int) -> None:
    bare, inner = f"{lab}-bare{host}", f"{lab}-inner{host}"
    vxlan = f"type vxlan id 99 dstport 14799 local 192.0.2.10{host} nolearning"
    for line in (
        f"-n {bare} link set lo up",
        f"link add eth0 netns {bare} type veth peer name bare{host} netns {lab}-switch",
        f"-n {lab}-switch link set bare{host} master br0 up",
        f"-n {bare} address add 192.0.2.10{host}/24 dev eth0",
        f"-n {bare} link set eth0 up",
        f"-n {bare} link add ref0 address {_mac(host)} mtu 1450 {vxlan}",
        f"-n {bare} address add 10.200.{host}.0/32 dev ref0",
        f"-n {bare} link set ref0 up",
        f"-n {bare} link add br0 mtu 1450 type bridge",
        f"-n {bare} address add 10.200.{host}.1/24 dev br0",
        f"-n {bare} link set br0 up",
        f"link add eth0 netns {inner} mtu 1450 type veth peer name port0 netns {bare} mtu 1450",
        f"-n {bare} link set port0 master br0 up",
        f"-n {inner} address add 10.200.{host}.2/24 dev eth0",
        f"-n {inner} link set eth0 up",
        f"-n {inner} route add default via 10.200.{host}.1",
    ):
        run("ip", *line.split())
    run(*within(bare), "sysctl", "-qw", "net.ipv4.ip_forward=1")


def _peer_by_hand(lab: str, host: int, peer: int) -> None:
    bare = f"{lab}-bare{host}"
    run(*f"bridge -n {bare} fdb add {_mac(peer)} dev ref0 dst 192.0.2.10{peer} self permanent".split())
    run(*f"ip -n {bare} neighbour add 10.200.{peer}.0 lladdr {_mac(peer)} dev ref0 nud permanent".split())
    run(*f"ip -n {bare} route add 10.200.{peer}.0/24 via 10.200.{peer}.0 dev ref0 onlink".split())


def _mac(host: int) -> str:
    return f"02:00:00:00:99:0{host}"


def _swarm(lab: str) -> Route:
    """Creates an attachable overlay network and a container on each host."""
    one, two = (docker_of(lab, host) for host in _HOSTS)
    run(*one, "swarm", "init", "--advertise-addr", "192.0.2.1")
    run(*two, "swarm", "join", "--token", run(*one, "swarm", "join-token", "-q", "worker").strip(), "192.0.2.1:2377")
    run(*one, "network", "create", "--driver", "overlay", "--attachable", "ref")
    for docker in (one, two):
        run(*docker, "run", "-d", "--name", "ref", "--network", "ref", IMAGE, "/bin/busybox", "sleep", "100000")
    address = run(*two, "inspect", "-f", "{{.NetworkSettings.Networks.ref.IPAddress}}", "ref").strip()
    return Route(_of_container(lab, 1, "ref"), _of_container(lab, 2, "ref"), address)


def busybox() -> bytes:
    """Builds a root file system, as tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(_BUSYBOX, "bin/busybox")
        shell = tarfile.TarInfo("bin/sh")
        shell.type, shell.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(shell)
        users = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        archive.addfile(entry, io.BytesIO(users))
    return buffer.getvalue()


def _await(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"it does not come up: {log.read_text()[-2000:]}")
        time.sleep(0.1)
