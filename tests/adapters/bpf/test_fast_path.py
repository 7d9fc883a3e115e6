"""The fast path with real packets (see tests/adapters/filter/site/lab.py), on runners whose slow path is closed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import pytest
import structlog

from netvps.adapters.bpf import placed
from netvps.adapters.bpf.fast_path import FastPath
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from netvps.domain.overlay.peer_health import Health
from netvps.domain.overlay.view import View
from tests.adapters.filter.site.lab import MTU, PORTS, SECONDS, Lab, netmap, view
from tests.adapters.filter.site.traffic import ADDRESS, connected, ears, routed, say
from tests.adapters.filter.site.traffic import put as put_frame

pytestmark = pytest.mark.netns
_TAG = bytes.fromhex("81000005")
"""Of a virtual LAN, 5."""


def _fast(hosts: Lab, runner: str, *, wanted: bool = True) -> FastPath:
    return FastPath(wanted=wanted, inside=partial(hosts.inside, runner))


def _there(hosts: Lab, runner: str, link: str = "nv0") -> str:
    return hosts.run(runner, *f"tc filter show dev {link} ingress".split())


@pytest.fixture
async def fast(hosts: Lab) -> dict[str, FastPath]:
    """On two of the runners, loaded; no other rules are."""
    made = {runner: _fast(hosts, runner) for runner in ("one", "two")}
    for runner, each in made.items():
        await each.load(view(runner), PORTS)
    return made


@contextmanager
def closed(hosts: Lab, *runners: str) -> Iterator[None]:
    """Nothing is routed there."""
    drop = "type filter hook prerouting priority -310; iifname { nv0, nvbr0 } drop"
    for runner in runners:
        hosts.run(runner, "nft", "-f", "-", stdin=f"table ip closed {{ chain c {{ {drop}; }}; }}")
    try:
        yield
    finally:
        for runner in runners:
            hosts.run(runner, "nft", "delete", "table", "ip", "closed")


def _heard(hosts: Lab, sender: str, receiver: str, text: bytes = b"hello") -> bool:
    with ears(hosts, receiver) as (ear,):
        say(hosts, sender, ADDRESS[receiver], text)
        return ear.heard() == [text]


@pytest.mark.parametrize(("sender", "receiver"), [("ann1", "ann5"), ("ann5", "ann1")])
async def test_between_two_runners_no_other_way_is_needed(
    hosts: Lab, fast: dict[str, FastPath], sender: str, receiver: str
) -> None:
    with closed(hosts, *fast):
        assert _heard(hosts, sender, receiver)
        assert _heard(hosts, sender, receiver, bytes(1450 - 28))
        assert not _heard(hosts, "bob1", "ann5")
        assert not _heard(hosts, "ann1", "bob2")


async def test_tcp_goes_the_long_way_to_begin_with(hosts: Lab, fast: dict[str, FastPath]) -> None:
    for session in ("ann1", "ann5"):
        hosts.run(session, "ip", "link", "set", "eth0", "mtu", str(MTU))  # as on the overlay
    with connected(hosts, "ann1", "ann5") as (client, accepted), closed(hosts, *fast):
        accepted.settimeout(SECONDS)
        for mouth, ear in ((client, accepted), (accepted, client)):
            mouth.sendall(bytes(1 << 16))
            left = 1 << 16
            while left:
                left -= len(ear.recv(left))
        with closing(hosts.open("ann1", client.type)) as late:
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.connect((ADDRESS["ann5"], 23))


async def test_lies_do_not_go_the_fast_way(hosts: Lab, fast: dict[str, FastPath]) -> None:
    lies: list[dict[str, str]] = [
        {"address": ADDRESS["ann1"]},
        {"address": ADDRESS["ann1"], "mac": "06:00:00:00:00:01"},
    ]
    with closed(hosts, *fast), ears(hosts, "ann5") as (ear,):
        for lie in lies:
            put_frame(hosts, "bob1", routed(hosts, "bob1", ADDRESS["ann5"], b"spoofed", **lie))
        true = routed(hosts, "ann1", ADDRESS["ann5"], b"true")
        put_frame(hosts, "ann1", true[:12] + _TAG + true[12:])  # the kernel takes that off, and notes it
        assert ear.heard() == []
        put_frame(hosts, "ann1", true)
        assert ear.heard() == [b"true"]


@pytest.mark.parametrize(
    ("changed", "receiver"),
    [
        (replace(view("one"), health=Health({"two": 1300})), "ann5"),
        (view("one", netmap().updated(NetmapUpdate(2, gone_endpoints=("uid-ann5",)))), "ann5"),
        (view("one", netmap().updated(NetmapUpdate(2, gone_peers=("two",)))), "ann5"),
        (
            view("one", netmap().updated(NetmapUpdate(2, (), (Endpoint("uid-ann1", "a", "bob", ADDRESS["ann1"]),)))),
            "ann5",
        ),
    ],
    ids=["a smaller mtu", "a session that is gone", "a runner that is gone", "an address that changed hands"],
)
async def test_what_is_not_to_go_there_any_more_does_not(
    hosts: Lab, fast: dict[str, FastPath], changed: View, receiver: str
) -> None:
    tracker = Tracker()
    for seen in (view("one"), changed):
        await fast["one"].load(seen, PORTS, tracker.follow(seen))
    with closed(hosts, "one"):
        assert not _heard(hosts, "ann1", receiver)
    assert _heard(hosts, "ann1", receiver)  # no other rules are loaded here


async def test_where_it_is_not_wanted_what_an_earlier_run_left_goes(hosts: Lab, fast: dict[str, FastPath]) -> None:
    for made, seen in (
        (_fast(hosts, "one", wanted=False), view("one")),
        (_fast(hosts, "one"), replace(view("one"), hosting=False)),
    ):
        await fast["one"].check_attached()
        await fast["one"].load(view("one"), PORTS)
        assert "netvps/arriving" in _there(hosts, "one")
        for _ in range(2):
            await made.load(seen, PORTS)
            assert _there(hosts, "one") == _there(hosts, "one", "p-ann1") == ""


async def test_a_kernel_that_refuses_is_reported_once_and_asked_again_after_a_look(
    hosts: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _fast(hosts, "one")
    await made.load(view("one"), PORTS)

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as forbidden, structlog.testing.capture_logs() as logs:
        forbidden.setattr(placed, "Tables", refused)
        forbidden.setattr(placed, "leaving", refused)
        for mtu in (1400, 1450):
            seen = replace(view("one"), underlay=replace(view("one").underlay, mtu=mtu))
            for _ in range(2):
                await made.load(seen, PORTS)
                assert _there(hosts, "one") == _there(hosts, "one", "p-ann1") == ""
            await made.check_attached()
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["why"].startswith(
        "the kernel refuses BPF: Operation not permitted; use Linux 5.10 or later with CAP_BPF"
    )
    await made.load(view("one"), PORTS)
    assert "netvps/arriving" in _there(hosts, "one")
