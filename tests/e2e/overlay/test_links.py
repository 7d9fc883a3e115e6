"""Paths between machines that lose large packets, or all of the overlay's: found, reported, worked around, and healed.

host 1 ─┐   1 ↔ 2: packets of the overlay of more than 1400 bytes are lost silently
host 2 ─┼── switch
host 3 ─┘   1 ↔ 3: all of them are
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.overlay.overlay_lab import Host, Lab, wait
from tests.e2e.overlay.test_overlay import SOON, exchanged
from tests.support.namespaces import Namespace

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
FAULTS = """
add table bridge faults
add chain bridge faults path { type filter hook forward priority 0; }
add rule bridge faults path udp dport 14789 ip saddr . ip daddr { 192.0.2.1 . 192.0.2.2, 192.0.2.2 . 192.0.2.1 } \\
    ip length > 1400 drop
add rule bridge faults path udp dport 14789 ip saddr . ip daddr { 192.0.2.1 . 192.0.2.3, 192.0.2.3 . 192.0.2.1 } drop
"""


@pytest.fixture
def lab(three: Lab) -> Iterator[Lab]:
    """Its paths are bad from before the runners start."""
    for host in three.hosts:
        host.stop_runner()
        # What veth pairs pass on whole, a network card would have cut.
        host.namespace.ip("link", "set", "eth0", "gso_max_segs", "1")
    switch(three).run("nft", FAULTS)
    three.forget_logs()
    for host in three.hosts:
        host.start_process()
    yield three
    for host in three.hosts:
        host.namespace.ip("link", "set", "eth0", "gso_max_segs", "65535")


def switch(lab: Lab) -> Namespace:
    return Namespace(f"{lab.prefix}-switch")


def reported_problems(lab: Lab) -> dict[tuple[str, str], str]:
    """What is wrong, by the machine that says so and the one that it is about, as the server knows it."""
    with lab.client() as client:
        runners = [view.runner for view in client.list_runners()]
    names = {runner.uid: runner.name for runner in runners}
    return {(r.name, names.get(problem.peer, "")): problem.message for r in runners for problem in r.problems}


def self_tests(host: Host) -> set[str]:
    """What they came to."""
    said = map(json.loads, host.log.splitlines())
    return {line["outcome"] for line in said if line["event"] == "self-test of TCP"}


def test_what_is_lost_between_machines_is_reported_by_both_and_healed(lab: Lab) -> None:
    small, blocked = {("box1", "box2"), ("box2", "box1")}, {("box1", "box3"), ("box3", "box1")}
    wait(lambda: small <= reported_problems(lab).keys(), "both ends of the small path tell of it")
    problems = reported_problems(lab)
    for own, other in small:
        said = f"between {own} (192.0.2.{own[-1]}) and {other} (192.0.2.{other[-1]}), packets of more than 1400 bytes"
        assert said in problems[own, other]
        assert "goes on with 1350 of its 1450 bytes" in problems[own, other]
    wait(lambda: all(host.settled() for host in lab.hosts), "the routes are as planned, the smaller ones, too", SOON)
    assert "mtu 1350" in lab.hosts[0].namespace.ip("route", "show", "proto", "201")
    one, two = lab.create("one", lab.hosts[0]), lab.create("two", lab.hosts[1])
    assert exchanged(one, two, socket.SOCK_STREAM, 1 << 20)
    assert exchanged(two, one, socket.SOCK_STREAM, 1 << 20)

    wait(lambda: reported_problems(lab).keys() == small | blocked, "both ends of the blocked path, too")
    for pair in blocked:
        assert "though that machine answers a ping: let UDP port 14789 through" in reported_problems(lab)[pair]

    switch(lab).run("nft", "delete", "table", "bridge", "faults")
    wait(lambda: reported_problems(lab) == {}, "all problems are gone")
    wait(lambda: "mtu" not in lab.hosts[0].namespace.ip("route", "show", "proto", "201"), "full size again", SOON)
    assert one.reaches(two.address, size=1422)
    # One that starts before another finds no listener there, and tries again.
    wait(lambda: all("GOOD" in self_tests(host) for host in lab.hosts), "TCP between the runners is tried")
    assert all(self_tests(host) <= {"GOOD", "ABSENT"} for host in lab.hosts)
