"""The gateway on the overlay, between three machines (see overlay_lab): the server is on the first, with a runner."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from ipaddress import ip_network

import pytest

from tests.e2e.overlay.overlay_lab import Lab, Session, wait
from tests.support.namespaces import Namespace

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]


@pytest.fixture(scope="module")
def lab(three: Lab) -> Lab:
    add_key(three)
    return three


def add_key(lab: Lab) -> None:
    """A key for `ssh`."""
    key = lab.folder / "id"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    lab.netvps("key", "add", f"{key}.pub")


@pytest.fixture(scope="module")
def sessions(lab: Lab) -> list[Session]:
    """One on each host; others let the gateway's machine through to them."""
    made = [lab.create(name, host) for name, host in zip(("one", "two", "three"), lab.hosts, strict=True)]
    home = str(ip_network(f"{made[0].address}/22", strict=False)[0])
    for host in lab.hosts[1:]:
        known = partial(host.namespace.run, "nft", "list", "set", "inet", "netvps", "gateways")
        wait(lambda known=known: home in known(), "the gateway is known", 20)  # type: ignore[misc]
    return made


def ssh(lab: Lab, name: str, *command: str) -> list[str]:
    """A login at the gateway, from its machine."""
    values = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR", "BatchMode": "yes"}
    options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
    inside = ["nsenter", f"--net=/run/netns/{lab.hosts[0].namespace.name}"]
    return [
        *inside,
        "ssh",
        "-F",
        "none",
        "-i",
        f"{lab.folder}/id",
        *options,
        "-p2222",
        f"{name}@192.0.2.1",
        *command,
    ]


def way_of(lab: Lab, session: Session) -> str:
    """Which way a login took."""
    said = subprocess.run(
        ssh(lab, session.name, "echo $((6 * 7))"), capture_output=True, text=True, timeout=60, check=False
    )
    assert said.stdout == "42\n", said.stderr
    return ways(lab)[-1]


def goes_over_the_overlay(lab: Lab, session: Session) -> None:
    """Where it was too slow once, as on a busy machine it may be, it is after a minute."""
    wait(lambda: way_of(lab, session) == "overlay", "over the overlay", 90)


def ways(lab: Lab) -> list[str]:
    """That all logins so far took, by the server's log."""
    lines = map(json.loads, (lab.folder / "server/log").read_text().splitlines())
    return [line["way"] for line in lines if line["event"] == "session reached"]


def counted(lab: Lab, way: str) -> float:
    """How many connections came that way, by the server's metrics."""
    page = lab.hosts[0].namespace.run("busybox", "wget", "-qO-", "http://192.0.2.1:7480/metrics").splitlines()
    name = f'netvps_gateway_dial_seconds_count{{way="{way}"}} '
    return sum(float(line.removeprefix(name)) for line in page if line.startswith(name))


def refusal_of(at: Namespace, address: str, port: int) -> str:
    """What becomes of a call from there: "" if it is taken."""
    with at.inside():
        caller = socket.socket()
    with closing(caller):
        caller.settimeout(1)
        try:
            caller.connect((address, port))
        except OSError as error:
            return str(error)
    return ""


def test_people_reach_sessions_on_all_machines_over_the_overlay(lab: Lab, sessions: list[Session]) -> None:
    before = counted(lab, "overlay")
    for session in sessions:
        goes_over_the_overlay(lab, session)
    assert lab.netvps("exec", sessions[2].name, "--", "hostname").strip()
    assert ways(lab)[-1] == "overlay"
    wait(lambda: counted(lab, "overlay") >= before + 4, "the page is fresh", 20)


def test_of_a_session_the_gateways_machine_reaches_ssh_and_ping_alone(lab: Lab, sessions: list[Session]) -> None:
    one, two, three = sessions
    assert one.run("nc", "-w1", two.address, "80", check=False) == ""
    with pytest.raises(AssertionError, match="Connection refused"):
        one.run("nc", "-w1", two.address, "80")  # which is what there is to hear
    for address in (two.address, three.address):
        assert refusal_of(lab.hosts[0].namespace, address, 22) == ""
        assert refusal_of(lab.hosts[0].namespace, address, 80) == "timed out"
        lab.hosts[0].namespace.run("busybox", "ping", "-c1", "-W5", address)
    assert refusal_of(lab.hosts[1].namespace, three.address, 22) == "timed out"


def test_no_session_of_another_owner_gets_in_where_the_gateway_does(lab: Lab, sessions: list[Session]) -> None:
    lab.netvps("user", "add", "bob")
    lab.netvps("create", "bobs", "--owner", "bob", "--image", "lab/busybox:latest", "--network", "overlay")
    bobs = lab.session("bobs.bob")
    target = next(session for session in sessions[1:] if session.host is not bobs.host)
    gateway = str(ip_network(f"{sessions[0].address}/22", strict=False)[1])
    for address in (target.address, gateway):
        assert bobs.run("timeout", "1", "nc", "-w1", address, "22", check=False) == ""
    assert sessions[0].run("timeout", "1", "nc", target.address, "22", check=False).startswith("SSH-2.0")
    lab.netvps("rm", "bobs.bob", "--yes")


def test_without_the_runners_program_and_the_agents_tunnel(lab: Lab, sessions: list[Session]) -> None:
    """The tunnel's bytes pass through the runner's program."""
    two = sessions[1]
    goes_over_the_overlay(lab, two)
    with subprocess.Popen(ssh(lab, two.name, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as before:
        assert before.stdin
        assert before.stdout
        try:
            before.stdin.write(b"before\n")
            before.stdin.flush()
            assert before.stdout.readline() == b"before\n"
            two.host.stop_runner(signal.SIGKILL)
            assert way_of(lab, two) == "overlay"
            before.stdin.write(b"after\n")
            before.stdin.close()
            assert before.stdout.read() == b"after\n"
            assert before.wait(20) == 0
        finally:
            before.kill()
            two.host.start_runner()


def test_without_the_overlay_by_the_tunnel(lab: Lab, sessions: list[Session]) -> None:
    before = counted(lab, "tunnel")
    with blocked(lab):
        assert [way_of(lab, session) for session in sessions[1:]] == ["tunnel"] * 2
    assert [way_of(lab, session) for session in sessions[1:]] == ["tunnel"] * 2  # which it remembers for a minute
    wait(lambda: counted(lab, "tunnel") == before + 4, "the page is fresh", 20)


@contextmanager
def blocked(lab: Lab) -> Iterator[None]:
    """No tunnel of VXLAN gets through the switch."""
    switch = Namespace(f"{lab.prefix}-switch")
    rule = "type filter hook forward priority 0; ether type ip udp dport 14789 drop"
    switch.run("nft", f"table bridge block {{ chain c {{ {rule}; }}; }}")
    try:
        yield
    finally:
        switch.run("nft", "delete", "table", "bridge", "block")
