"""Whatever is there, what is wanted comes of it; and wherever that is cut off, nothing is worse than before."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.diff import additions, diff
from netvps.domain.overlay.kernel.links import Address, Bridge, Device, KernelState, Route
from netvps.domain.overlay.kernel.plan import ON_BRIDGE, UNREACHABLE
from tests.domain.overlay.model import applied, cut_off

POOL = "10.128.0.0/10"
DEVICE = Device(7, 14789, "192.0.2.1", "02:00:00:00:00:01", 1450)
BRIDGE = Bridge("02:42:0a:80:00:01", 1450, 365)
PEERS = st.integers(0, 5)
MOVED = ("10.128.4.9/32", "10.128.100.9/32", "10.128.200.9/32")


def destination(number: int) -> str:
    return f"10.128.{4 * number}.0/22"


def gateway(number: int) -> str:
    return f"10.128.{4 * number}.0"


@st.composite
def wanted(draw: st.DrawFn) -> KernelState:
    """As plan makes them: every route with its neighbour and that one's FDB entry."""
    holders = draw(st.dictionaries(PEERS, st.tuples(PEERS, PEERS, st.sampled_from([0, 1400])), max_size=5))
    subnet = draw(st.sampled_from(["10.128.100.1/22", "10.128.200.1/22"]))
    ways = [UNREACHABLE, ON_BRIDGE, *(Route(gateway(number), mtu) for number, (_, _, mtu) in holders.items())]
    moved = draw(st.dictionaries(st.sampled_from(MOVED), st.sampled_from(ways), max_size=3))
    devices = st.builds(
        lambda mtu, local, port, offload: replace(DEVICE, mtu=mtu, local=local, port=port, checksum_offload=offload),
        st.sampled_from([1450, 1400]),
        st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        st.sampled_from([14789, 14790]),
        st.booleans(),
    )
    return KernelState(
        device=draw(devices),
        bridge=draw(st.sampled_from([BRIDGE, replace(BRIDGE, mtu=1400), replace(BRIDGE, ageing_days=0)])),
        addresses=frozenset({Address("nv0", "10.128.100.0/32"), Address("nvbr0", subnet)}),
        neighbours={gateway(number): f"mac{owner}" for number, (owner, _, _) in holders.items()},
        fdb={f"mac{owner}": f"192.0.2.{remote}" for owner, remote, _ in holders.values()},
        routes={POOL: UNREACHABLE}
        | {destination(number): Route(gateway(number), mtu) for number, (_, _, mtu) in holders.items()}
        | moved,
        sysctls={"net/ipv4/ip_forward": "1", "net/ipv4/conf/nv0/rp_filter": "2", "net/ipv4/conf/nvbr0/rp_filter": "2"},
    )


@st.composite
def found(draw: st.DrawFn) -> KernelState:
    """Anything: what others left of it."""
    state = draw(wanted())
    foreign = draw(st.sampled_from([{}, {"192.0.2.0/24": "eth0"}]))
    sysctls = {path: draw(st.sampled_from(["0", "2"])) for path in state.sysctls if draw(st.booleans())}
    state = replace(state, foreign=foreign, sysctls=sysctls)
    neighbours = {key: value for key, value in state.neighbours.items() if draw(st.booleans())}
    fdb = {key: value for key, value in state.fdb.items() if draw(st.booleans())}
    routes = {key: value for key, value in state.routes.items() if draw(st.booleans())}
    state = replace(state, neighbours=neighbours, fdb=fdb, routes=routes)
    if draw(st.booleans()):
        state = applied(op.RemoveDevice(), state)
    elif draw(st.booleans()):
        state = replace(state, device=replace(DEVICE, up=False), neighbours={}, routes={})
    if draw(st.booleans()):
        state = applied(op.RemoveBridge(), state)
    return state


@given(wanted(), found())
def test_it_turns_the_actual_state_into_the_desired_one(desired: KernelState, actual: KernelState) -> None:
    state = actual
    for operation in diff(desired, actual):
        state = applied(operation, state)
    assert diff(desired, state) == ()
    for name in ("device", "bridge", "addresses", "neighbours", "fdb", "routes"):
        assert getattr(state, name) == getattr(desired, name), name
    assert state.foreign == actual.foreign


@given(wanted(), found())
def test_no_route_is_ever_without_its_way(desired: KernelState, actual: KernelState) -> None:
    state, broken = actual, cut_off(actual)
    for operation in diff(desired, actual):
        state = applied(operation, state)
        assert cut_off(state) <= broken, operation
        broken &= cut_off(state)


@given(wanted(), found())
def test_the_pool_never_leaks_to_the_default_route(desired: KernelState, actual: KernelState) -> None:
    """From the first operation on, what has no route of its own is unreachable."""
    state = actual
    for operation in diff(desired, actual):
        state = applied(operation, state)
        assert POOL in state.routes


@given(wanted())
def test_the_same_is_no_work(state: KernelState) -> None:
    assert diff(state, state) == ()


@given(found())
def test_nothing_wanted_leaves_nothing(actual: KernelState) -> None:
    state = actual
    for operation in diff(KernelState(), actual):
        state = applied(operation, state)
    assert replace(state, sysctls={}, foreign={}) == KernelState()
    assert state.foreign == actual.foreign


def test_the_route_of_another_is_not_taken() -> None:
    desired = KernelState(
        device=DEVICE, fdb={"m": "192.0.2.2"}, neighbours={gateway(1): "m"}, routes={destination(1): Route(gateway(1))}
    )
    actual = KernelState(device=DEVICE, foreign={destination(1): "dev vpn0"})
    assert diff(desired, actual) == (op.PutFdb("m", "192.0.2.2"), op.PutNeighbour(gateway(1), "m"))


def test_a_peer_that_moves_is_one_operation() -> None:
    before = KernelState(
        device=DEVICE, fdb={"m": "192.0.2.2"}, neighbours={gateway(1): "m"}, routes={destination(1): Route(gateway(1))}
    )
    assert diff(replace(before, fdb={"m": "192.0.2.3"}), before) == (op.PutFdb("m", "192.0.2.3"),)


def test_an_address_that_leaves_the_bridge_is_announced_there_once_it_has_its_route() -> None:
    way = KernelState(
        device=DEVICE,
        bridge=BRIDGE,
        addresses=frozenset({Address("nvbr0", "10.128.100.1/22")}),
        fdb={"m": "192.0.2.2"},
        neighbours={gateway(1): "m"},
        routes={destination(1): Route(gateway(1))},
    )
    own, foreign = "10.128.100.9", "10.128.200.9"
    moved = replace(way, routes={**way.routes, **{f"{one}/32": Route(gateway(1)) for one in (own, foreign)}})
    put = [op.PutRoute(f"{one}/32", Route(gateway(1))) for one in (own, foreign)]
    assert diff(moved, way) == (*put, op.Announce(own))
    lost = replace(way, routes={**way.routes, f"{own}/32": UNREACHABLE, f"{foreign}/32": UNREACHABLE})
    assert diff(moved, lost) == (*put, op.Announce(own))
    smaller = replace(way, routes={**moved.routes, f"{own}/32": Route(gateway(1), 1300)})
    assert diff(smaller, moved) == (op.PutRoute(f"{own}/32", Route(gateway(1), 1300)),)
    assert additions(diff(moved, way), way) == tuple(put)  # an old netmap announces nothing
    assert diff(way, moved) == (op.DropRoute(f"{own}/32"), op.DropRoute(f"{foreign}/32"))


def test_a_bridge_that_forgets_too_soon_is_changed_and_stays() -> None:
    address = Address("nvbr0", "10.128.100.1/22")
    desired = KernelState(bridge=BRIDGE, addresses=frozenset({address}))
    for ageing_days in (0, 1):
        actual = replace(desired, bridge=replace(BRIDGE, ageing_days=ageing_days))
        assert diff(desired, actual) == (op.ChangeBridge(BRIDGE),)


def test_what_a_kernel_does_not_have_is_not_asked_of_it() -> None:
    desired = KernelState(device=DEVICE, sysctls={"net/ipv6/conf/nv0/disable_ipv6": "1"})
    assert diff(desired, KernelState(device=DEVICE)) == ()
