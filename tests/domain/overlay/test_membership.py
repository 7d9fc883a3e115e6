from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from netvps.domain.names import SessionName
from netvps.domain.overlay.membership import MembershipIndex, Resource, mentioned
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate, Peer, Touched
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.runner.runner import Lease, Runner, RunnerState, Underlay
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec

NOW = datetime(2026, 5, 4, tzinfo=UTC)
SETTINGS = OverlaySettings("cluster")
UNDERLAY = Underlay(("192.0.2.1",), 1450)
RUNNER = Runner("r1", "lab1", NOW, NOW, underlay=UNDERLAY)
LEASE = Lease("10.128.0.0/22", "r1", 7, revision=7)
SESSION = replace(
    new_session("s1", SessionName("ann", "web"), SessionSpec(), NOW), runner="r1", overlay_address="10.128.0.2"
)
PEER = Peer("r1", "lab1", Lease("10.128.0.0/22", "r1", 7), device_mac(SETTINGS, "r1"), UNDERLAY)


def roster(*resources: Resource) -> MembershipIndex:
    made = MembershipIndex(SETTINGS)
    for resource in resources:
        made.apply(resource)
    return made


def test_a_runner_is_a_peer_once_it_has_a_subnet_and_a_way_to_the_others() -> None:
    for order in ((RUNNER, LEASE), (LEASE, RUNNER)):
        made = roster(order[0])
        assert made.peers == {}
        assert made.apply(order[1]) == Touched(peers={"r1"})
        assert made.peers == {"r1": PEER}
    for gone in (RUNNER, LEASE):
        made = roster(RUNNER, LEASE)
        assert made.apply(gone, deleted=True) == Touched(peers={"r1"})
        assert made.peers == {}
    assert roster(LEASE, replace(RUNNER, underlay=None)).peers == {}


def test_what_others_need_not_know_of_a_runner_is_no_news() -> None:
    made = roster(RUNNER, LEASE)
    for same in (
        replace(RUNNER, state=RunnerState.ONLINE, last_seen=datetime(2027, 1, 1, tzinfo=UTC), revision=9),
        replace(LEASE, last_address="10.128.0.9", revision=10),
    ):
        assert not made.apply(same)
    assert made.apply(replace(RUNNER, underlay=Underlay(("192.0.2.7",), 1450)))
    assert made.apply(replace(LEASE, epoch=8))


def test_a_runner_whose_machine_a_server_is_on_is_a_gateway_until_the_store_says_otherwise() -> None:
    made = roster(RUNNER, LEASE)
    assert made.apply(replace(RUNNER, gateway_until=NOW))
    assert made.peers == {"r1": replace(PEER, gateway=True)}
    assert not made.apply(replace(RUNNER, gateway_until=datetime(2027, 1, 1, tzinfo=UTC)))
    assert made.apply(RUNNER)
    assert made.peers == {"r1": PEER}


def test_a_session_is_an_endpoint_while_it_has_an_address_however_it_is() -> None:
    made = roster()
    assert not made.apply(replace(SESSION, overlay_address=""))
    assert made.apply(SESSION) == Touched(endpoints={"s1"})
    assert made.endpoints == {"s1": Endpoint("s1", "web", "ann", "10.128.0.2")}
    for state in SessionState:
        assert not made.apply(replace(SESSION, state=state, desired=DesiredState.DELETED, address="172.30.0.2"))
    assert made.apply(SESSION, deleted=True) == Touched(endpoints={"s1"})
    assert made.endpoints == {}


def test_a_session_that_moved_with_its_address_names_its_runner() -> None:
    made = roster(SESSION)
    moved = replace(SESSION, runner="r2", local_address="10.128.4.2")
    assert made.apply(moved) == Touched(endpoints={"s1"})
    assert made.endpoints == {"s1": Endpoint("s1", "web", "ann", "10.128.0.2", "r2")}
    assert not made.apply(replace(moved, local_address="10.128.4.3"))


def test_who_came_and_went_is_reported_as_gone() -> None:
    made, touched = roster(RUNNER, LEASE), Touched()
    for resource, deleted in ((SESSION, False), (SESSION, True), (replace(RUNNER, name="lab2"), False)):
        touched.add(made.apply(resource, deleted=deleted))
    assert made.update(touched, 20) == NetmapUpdate(20, peers=(replace(PEER, name="lab2"),), gone_endpoints=("s1",))


def test_everybody_whom_a_log_mentions() -> None:
    assert mentioned([RUNNER, replace(LEASE, runner="r2"), SESSION, "else"]) == Touched({"r1", "r2"}, {"s1"})
    assert not mentioned([])
