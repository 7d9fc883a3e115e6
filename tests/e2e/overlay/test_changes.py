"""Random changes of the overlay under a ping every millisecond between two untouched sessions.

More of them, or the same again: scripts/test tests/e2e/overlay/test_changes.py --changes 1000 --seed 7
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from netvps.adapters.bpf.placed import Placed
from netvps.domain.overlay.kernel.links import OBJECT_NAMES
from tests.e2e.kills.judged import wrong
from tests.e2e.overlay.changes import Changes
from tests.e2e.overlay.damage import ways
from tests.e2e.overlay.overlay_lab import Lab, Session, wait
from tests.support.pings import Answers, pinging

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(4) as made:
        for host in made.hosts:
            host.start_process()
        made.settle()
        yield made


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Session, Session]:
    """One session on the first host, one on the second."""
    return lab.create("one", lab.hosts[0]), lab.create("two", lab.hosts[1])


@pytest.fixture(scope="module")
def third(lab: Lab, pair: tuple[Session, Session]) -> Session:  # noqa: ARG001 — the two are there first
    """One on the third, where things are cut."""
    return lab.create("three", lab.hosts[2])


def test_random_changes_lose_no_packet_and_end_as_planned(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    lab: Lab,
    pair: tuple[Session, Session],
    third: Session,
) -> None:
    count, seed = request.config.getoption("--changes"), request.config.getoption("--seed") or secrets.token_hex(4)
    one, two = pair
    with Changes(lab, pair, seed) as changes:
        began = time.monotonic()
        try:
            with pinging(one.inside, two.address, changes.began) as answers:
                changes.run(count)
                ran = time.monotonic()
                changes.judge()
            wait(
                lambda: all(s.reaches(third.address) and third.reaches(s.address) for s in pair), "the third is reached"
            )
        except Exception as error:
            raise AssertionError(f"--seed {seed} --changes {count}: {error}\n{changes.story()}") from error
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(changes.done.items()))
    with capsys.disabled():
        sys.stdout.write(
            f"\nseed {seed}: {changes.done.total()} changes ({kinds}) in {ran - began:.0f} s, as planned "
            f"{time.monotonic() - ran:.0f} s later; {answers.latest + 1} pings, none lost\n"
        )


@pytest.mark.usefixtures("lab")
def test_what_is_lost_or_not_as_planned_is_found(pair: tuple[Session, Session]) -> None:
    """The judges judged: a path is cut, and not repaired for a moment."""
    with pytest.raises(AssertionError, match="pings lost: number "):
        _cut_off(*pair)


def _cut_off(one: Session, two: Session) -> None:
    host = one.host
    (way,) = [way for way in ways(host) if ip_address(two.address) in ip_network(way.cidr)]
    with pinging(one.inside, two.address) as answers:
        with host.paused():
            host.namespace.ip("route", "delete", way.cidr)
            host.namespace.run("nft", "flush", "set", "inet", "netvps", "runners")
            with host.namespace.inside():
                Placed(OBJECT_NAMES).remove()  # it needs no route
            found = " ".join(wrong(host))
            assert f"PutRoute(destination='{way.cidr}'" in found
            assert "missing: set inet netvps runners" in found
        last = answers.latest
        wait(lambda: answers.latest > last, "a way again")


def test_a_ping_without_an_answer_is_found() -> None:
    """Also where the numbers of the wire begin again, and answers come twice, or not in order."""
    answers = Answers()
    numbers = [number for number in range(70_000) if number not in {7, 65_536}]
    numbers[100:100] = [numbers[99], numbers[101]]
    answers.read(b"64 bytes from 192.0.2.1: seq=%d ttl=62 time=0.1 ms\n" % (number % 65_536) for number in numbers)
    assert answers.lost() == [7, 65_536]
    with pytest.raises(AssertionError, match=r"2 of 70000 pings lost: number 7 at .* s, number 65536 at"):
        answers.require()
