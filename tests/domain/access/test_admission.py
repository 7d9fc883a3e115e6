"""Limits by address: what is served, waits, is refused, and never at the cost of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.access.admission import Admission, Decision, Limits, Outcome, Ticket, source_of

SMALL = Limits(served_per_source=2, waiting_per_source=3, handshakes=4, early=1000, full=1000)
A, B = "192.0.2.1", "192.0.2.2"


def served(decision: Decision) -> Ticket:
    assert decision.ticket is not None, decision.reason
    assert decision.ticket.served
    return decision.ticket


def waits(decision: Decision) -> Ticket:
    assert decision.ticket is not None, decision.reason
    assert not decision.ticket.served
    return decision.ticket


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_an_address_counts_as_itself_or_its_64(address: str, source: str) -> None:
    assert source_of(address) == source


def test_beyond_its_places_a_source_waits_and_then_is_refused() -> None:
    admission = Admission(SMALL)
    first = served(admission.arrive(A, 0, 0))
    served(admission.arrive(A, 0, 0))
    waiting = [waits(admission.arrive(A, 0, 0)) for _ in range(3)]
    assert admission.arrive(A, 0, 0) == Decision(reason="too many unauthenticated connections")
    assert admission.leave(first, Outcome.LOGGED_IN, 1).admitted == (waiting[0],)
    served(admission.arrive(B, 1, 0))


def test_logins_that_succeed_cost_nothing() -> None:
    admission = Admission(SMALL)
    for _ in range(1000):
        admission.leave(served(admission.arrive(A, 0, 0)), Outcome.LOGGED_IN, 0)


def test_failures_use_the_budget_up_and_it_refills() -> None:
    admission = Admission(SMALL)
    for _ in range(4):
        admission.leave(served(admission.arrive(A, 0, 0)), Outcome.FAILED, 0)
    assert admission.arrive(A, 0, 0).reason == "too many connections that did not log in: try again in 15 s"
    assert admission.arrive(A, 14, 0).reason.endswith("try again in 1 s")
    served(admission.arrive(A, 15, 0))


def test_bans_grow_to_a_bound_and_are_forgiven() -> None:
    limits = Limits(handshakes=1, window=1e9)
    admission, now = Admission(limits), 0.0
    bans: list[str] = []
    for _ in range(6):
        if bans:
            admission._sources[A].budget = 1
        admission.leave(served(admission.arrive(A, now, 0)), Outcome.FAILED, now)
        bans.append(admission.arrive(A, now, 0).reason.rpartition("in ")[2])
        now = admission._sources[A].banned_until
    assert bans == ["15 s", "30 s", "60 s", "120 s", "120 s", "120 s"]
    now += limits.forgiven_after
    admission._sources[A].budget = 0
    assert admission.arrive(A, now, 0).reason.endswith("15 s")


def test_abuse_costs_more_than_a_wrong_key_and_a_probe_less() -> None:
    counts = {}
    for outcome in (Outcome.SAID_NOTHING, Outcome.FAILED, Outcome.ABUSED):
        admission, counts[outcome] = Admission(), 0
        while (ticket := admission.arrive(A, 0, 0).ticket) is not None:
            admission.leave(ticket, outcome, 0)
            counts[outcome] += 1
    assert counts == {Outcome.SAID_NOTHING: 190, Outcome.FAILED: 20, Outcome.ABUSED: 4}


def test_waiting_clients_are_refused_when_the_budget_is_used_up() -> None:
    admission = Admission(SMALL)
    tickets = [served(admission.arrive(A, 0, 0)), served(admission.arrive(A, 0, 0))]
    waiting = [waits(admission.arrive(A, 0, 0)) for _ in range(3)]
    assert admission.leave(tickets[0], Outcome.ABUSED, 0).dropped == tuple(waiting)
    assert admission.waiting == 0


def test_early_drop_spares_the_first_connection_of_an_address() -> None:
    admission = Admission(Limits(early=2, early_probability=0.5, full=4))
    for address in (A, B):
        served(admission.arrive(address, 0, 0))
    assert admission.arrive(A, 0, 0.49).ticket is None
    served(admission.arrive(A, 0, 0.5))
    served(admission.arrive("192.0.2.3", 0, 0))


def test_a_full_gateway_drops_the_oldest_of_the_source_with_the_most() -> None:
    admission = Admission(Limits(early=100, full=3))
    served(admission.arrive(B, 0, 0))
    oldest = served(admission.arrive(A, 0, 0))
    served(admission.arrive(A, 0, 0))
    assert admission.arrive(A, 0, 0).ticket is None
    decision = admission.arrive("192.0.2.3", 0, 0)
    assert decision.dropped == (oldest,)
    served(decision)
    assert admission.leave(oldest, Outcome.FAILED, 0) == Decision()
    assert admission.served == 3


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[float, str, int]]:
    """What misbehaving sources do: seconds since the last step, an address, and which connection ends how, or none."""
    addresses = st.one_of(
        st.integers(1, 40).map(lambda n: f"198.51.100.{n}"), st.integers(0, 999).map(lambda n: f"2001:db8:0:{n:x}::1")
    )
    step = st.tuples(st.floats(0, 2), addresses, st.integers(-1, 20))
    return draw(st.lists(step, max_size=200))


@given(steps(), st.floats(0, 0.999))
def test_a_source_that_behaves_is_never_refused_and_memory_is_bounded(
    done: list[tuple[float, str, int]], dice: float
) -> None:
    """It opens one connection at a time, and logs in before anybody else's turn but one."""
    limits = Limits(served_per_source=4, waiting_per_source=6, early=8, full=20, waiting=30, sources=50)
    admission, now = Admission(limits), 0.0
    held: list[Ticket] = []
    for number, (pause, address, end) in enumerate(done):
        now += pause
        mine = served(admission.arrive(A, now, dice))
        decision = admission.arrive(address, now, dice)
        assert mine not in decision.dropped or len({ticket.source for ticket in held}) >= limits.full - 1
        if decision.ticket is not None:
            held.append(decision.ticket)
        if 0 <= end < len(held):
            outcome = list(Outcome)[number % len(Outcome)]
            admission.leave(held.pop(end), outcome, now)
        admission.leave(mine, Outcome.LOGGED_IN, now)
        assert admission.served <= limits.full
        assert admission.waiting <= limits.waiting
        assert admission.sources <= limits.sources + limits.full + limits.waiting
        tickets = [len(source.served) + len(source.waiting) for source in admission._sources.values()]
        assert sum(tickets) == admission.served + admission.waiting
