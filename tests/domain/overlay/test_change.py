"""What follows from a change alone is what follows from the whole: kernel objects, rules and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.adapters.filter.rules.overlay import ruleset
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.kernel.diff import diff, patched
from netvps.domain.overlay.kernel.links import KernelState
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from tests.adapters.filter.rules.nft_model import Kernel
from tests.domain.overlay.model import applied

ME = Peer("r0", "r0", Lease("10.128.0.0/22", "r0", 1), "02:00:00:00:00:00", Underlay(("192.0.2.1",), 1450))
FOREIGN = {"10.128.8.0/22": "somebody else's"}
CIDRS = ("10.128.0.0/22", "10.128.4.0/22", "10.128.8.0/22", "10.128.12.0/23")
# Few of everything, so that they meet: subnets and addresses of two.
uids, sessions = st.sampled_from(["r0", "r1", "r2", "r3"]), st.sampled_from(["s1", "s2", "s3", "s4", "s5"])
peers = st.builds(
    Peer,
    runner=uids,
    name=st.just("box"),
    lease=st.builds(Lease, st.sampled_from(CIDRS), uids, st.integers(1, 3)),
    mac=st.sampled_from([f"02:00:00:00:00:0{n}" for n in range(5)]),
    underlay=st.builds(
        Underlay,
        st.sampled_from([("192.0.2.2",), ("192.0.2.3", "2001:db8::3"), ("2001:db8::3",), ("192.0.2.4",)]),
        st.sampled_from([1400, 1450]),
    ),
    gateway=st.booleans(),
)
ends = st.builds(
    Endpoint,
    session=sessions,
    name=st.sampled_from(["web", "db"]),
    owner=st.sampled_from(["ann", "bob"]),
    address=st.builds("10.128.{}.{}".format, st.sampled_from([0, 4]), st.integers(2, 6)),
    runner=st.sampled_from(["", "", "r0", "r1", "r2"]),
)
UPDATES = st.builds(
    NetmapUpdate,
    generation=st.just(1),
    peers=st.lists(peers, max_size=2, unique_by=lambda peer: peer.runner).map(tuple),
    endpoints=st.lists(ends, max_size=2, unique_by=lambda end: end.session).map(tuple),
    gone_peers=st.sets(uids, max_size=1).map(tuple),
    gone_endpoints=st.sets(sessions, max_size=1).map(tuple),
    reset=st.integers(0, 9).map(lambda chance: chance == 0),
)
PORTS = st.dictionaries(
    st.builds("10.128.0.{}".format, st.integers(2, 6)), st.sampled_from(["v1", "v2"]), max_size=2
).filter(lambda ports: len({*ports.values()}) == len(ports))
"""Each link is one session's."""
TURNS = st.builds(
    lambda **of: of,
    lease=st.sampled_from([ME.lease] * 9 + [replace(ME.lease, cidr="10.128.4.0/22")]),
    underlay=st.sampled_from([ME.underlay] * 9 + [Underlay(("192.0.2.9", "2001:db8::9"), 1450)]),
    overlay_settings=st.sampled_from([OverlaySettings("c")] * 9 + [OverlaySettings("c", pool="10.128.0.0/9")]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(UPDATES, TURNS, PORTS), max_size=8), PORTS)
def test_a_change_leads_where_the_whole_does(
    history: Sequence[tuple[NetmapUpdate, dict[str, object], dict[str, str]]], bound: dict[str, str]
) -> None:
    tracker, netmap = Tracker(), Netmap()
    views = [View("r0", OverlaySettings("c"), ME.lease, ME.underlay, netmap)]
    assert tracker.follow(views[0]) is None
    for update, turn, _ in history:
        netmap = netmap.updated(update)
        views.append(View(runner="r0", netmap=netmap, **turn))  # type: ignore[arg-type]
        if (change := tracker.follow(views[-1])) is None:
            continue
        assert change.since is views[-2]
        before, after = plan(views[-2]), plan(views[-1])
        old, new = plan(change.old), plan(change.new)
        assert patched(before, old, new) == after
        assert _made(diff(new, replace(old, foreign=FOREIGN)), before) == _made(
            diff(after, replace(before, foreign=FOREIGN)), before
        )
        kernel = Kernel()
        kernel.feed(ruleset(views[-2], bound).text)
        kernel.feed(ruleset(change.new, bound).changes_from(ruleset(change.old, bound)).text)
        assert kernel.ruleset == ruleset(views[-1], bound)


def _made(operations: Sequence[object], state: KernelState) -> KernelState:
    for operation in operations:
        state = applied(operation, state)  # type: ignore[arg-type]
    return state


def _many() -> Netmap:
    peer = [replace(ME, runner=f"r{n}", lease=Lease(f"10.128.{4 * n}.0/22", f"r{n}", 1)) for n in range(60)]
    way = [Underlay((f"192.0.2.{n + 1}",), 1450) for n in range(60)]
    macs = [f"02:00:00:00:01:{n:02x}" for n in range(60)]
    all_ = tuple(replace(p, underlay=w, mac=m) for p, w, m in zip(peer, way, macs, strict=True))
    ends_ = tuple(Endpoint(f"s{n}", "web", f"own{n % 7}", f"10.128.{4 * (n % 60)}.{2 + n // 60}") for n in range(600))
    return Netmap().updated(NetmapUpdate(1, all_[:-1], ends_))


def test_what_it_takes_is_as_small_as_the_change() -> None:
    """Of six hundred sessions and sixty runners."""
    tracker, netmap = Tracker(), _many()
    last = replace(ME, runner="r59", lease=Lease("10.128.236.0/22", "r59", 1), mac="02:00:00:00:01:3b")
    view = View("r0", OverlaySettings("c"), ME.lease, ME.underlay, netmap)
    tracker.follow(view)

    def sizes(update: NetmapUpdate) -> list[int]:
        nonlocal view
        view = replace(view, netmap=view.netmap.updated(update))
        change = tracker.follow(view)
        assert change
        return [len(of) for part in (change.old, change.new) for of in (part.netmap.peers, part.netmap.endpoints)]

    assert sizes(NetmapUpdate(2, (replace(last, underlay=Underlay(("192.0.2.60",), 1450)),))) == [0, 0, 1, 0]
    new = Endpoint("new", "new", "own1", "10.128.4.77")
    assert sizes(NetmapUpdate(3, endpoints=(new,))) == [0, 1, 0, 2]  # with one of the owner's that is here
    assert sizes(NetmapUpdate(4, gone_endpoints=("new",))) == [0, 2, 0, 1]
    stranger = Endpoint("x", "x", "nobody", "10.128.4.78")
    assert sizes(NetmapUpdate(5, endpoints=(stranger,))) == [0, 0, 0, 1]
    # The first of an owner here: all that the owner has, wherever.
    assert sizes(NetmapUpdate(6, endpoints=(replace(new, owner="nobody", address="10.128.0.99"),))) == [0, 1, 0, 2]


def test_a_moved_session_and_its_runner_are_looked_at_together() -> None:
    tracker, netmap = Tracker(), _many()
    view = View("r0", OverlaySettings("c"), ME.lease, ME.underlay, netmap)
    tracker.follow(view)

    def parts(update: NetmapUpdate) -> list[tuple[set[str], set[str]]]:
        nonlocal view
        view = replace(view, netmap=view.netmap.updated(update))
        change = tracker.follow(view)
        assert change
        return [({*part.netmap.peers}, {*part.netmap.endpoints}) for part in (change.old, change.new)]

    moved = Endpoint("new", "new", "nobody", "10.128.4.77", "r9")
    assert parts(NetmapUpdate(2, endpoints=(moved,))) == [({"r9"}, set()), ({"r9"}, {"new"})]
    other = replace(view.netmap.peers["r9"], underlay=Underlay(("192.0.2.99",), 1450))
    assert parts(NetmapUpdate(3, (other,))) == [({"r9"}, {"new"})] * 2
    assert parts(NetmapUpdate(4, endpoints=(replace(moved, runner="r8"),))) == [({"r8", "r9"}, {"new"})] * 2
    assert parts(NetmapUpdate(5, (replace(other, gateway=True),))) == [({"r9"}, set())] * 2
    assert parts(NetmapUpdate(6, gone_peers=("r8",))) == [({"r8"}, {"new"}), (set(), {"new"})]


def test_who_is_far_behind_or_another_looks_at_all() -> None:
    tracker, netmap = Tracker(), _many()
    view = View("r0", OverlaySettings("c"), ME.lease, ME.underlay, netmap)
    assert tracker.follow(view) is None
    assert tracker.follow(view) is not None
    assert tracker.follow(replace(view, underlay=Underlay(("192.0.2.99",), 1450))) is None
    assert tracker.follow(view) is None
    for _ in range(80):
        netmap = netmap.updated(NetmapUpdate(2))
    assert tracker.follow(replace(view, netmap=netmap)) is None
    assert tracker.follow(replace(view, netmap=Netmap())) is None
