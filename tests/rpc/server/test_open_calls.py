"""Limits of open calls: counted by identity over all connections, and given back at the end of each call."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.identity import RunnerIdentity, SessionIdentity
from netvps.errors import Exhausted
from netvps.rpc.server.open_calls import (
    RUNNER_LIMITS,
    SESSION_LIMITS,
    SESSION_UNOPENED,
    STRANGER_PER_ADDRESS,
    STRANGER_PER_CONNECTION,
    CallLimits,
    OpenCalls,
    address_of,
)
from tests.rpc.client.test_retries import described

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE, BOB = Caller("alice", Role.USER), Caller("bob", Role.USER)
SERVICE = "/netvps.api.v1.SessionService/"
DIAL_BACK = "/netvps.api.v1.TunnelService/DialBack"


def until_refused(call: Callable[[], Any], stack: ExitStack) -> tuple[int, str]:
    """How many calls are let in, and how the next one is refused."""
    for number in range(10_000):
        try:
            stack.enter_context(call())
        except Exhausted as error:
            return number, str(error)
    raise AssertionError("there is no limit")


def test_a_user_has_a_limit_of_each_kind_and_of_all_and_leaves_others_alone() -> None:
    calls = OpenCalls(CallLimits(calls_per_user=20, watches_per_user=5, log_readers_per_user=3, commands_per_user=2))
    with ExitStack() as stack:
        count, sentence = until_refused(lambda: calls.of(ALICE, f"{SERVICE}WatchSessions"), stack)
        assert count == 5
        assert sentence == (
            "user alice has 5 open WatchSessions calls; end some, or ask an operator to raise the server's limit"
        )
        assert until_refused(lambda: calls.of(ALICE, f"{SERVICE}ReadSessionLogs"), stack)[0] == 3
        assert until_refused(lambda: calls.of(ALICE, f"{SERVICE}ExecSession"), stack)[0] == 2
        assert until_refused(lambda: calls.of(ALICE, f"{SERVICE}GetSession"), stack)[0] == 10
        with calls.of(BOB, f"{SERVICE}WatchSessions"):
            pass
    with calls.of(ALICE, f"{SERVICE}WatchSessions"):
        pass


def test_all_certificates_of_a_session_count_together() -> None:
    calls = OpenCalls()
    first, second = SessionIdentity("s" * 13, 1), SessionIdentity("s" * 13, 2)
    with ExitStack() as stack:
        assert until_refused(lambda: calls.of(first, DIAL_BACK), stack)[0] == SESSION_LIMITS[""]
        with pytest.raises(Exhausted), calls.of(second, DIAL_BACK):
            pass
        with calls.of(SessionIdentity("t" * 13, 1), DIAL_BACK):
            pass


def test_a_runner_has_limits() -> None:
    calls = OpenCalls()
    with ExitStack() as stack:
        method = "/netvps.api.v1.RunnerLinkService/SendLogs"
        assert until_refused(lambda: calls.of(RunnerIdentity("r"), method), stack)[0] == RUNNER_LIMITS[method]


def test_silent_streams_of_a_session_count_until_they_have_spoken() -> None:
    calls, session = OpenCalls(), SessionIdentity("s" * 13, 1)
    with ExitStack() as stack:
        assert until_refused(lambda: calls.unopened(session), stack)[0] == SESSION_UNOPENED
        with calls.unopened(SessionIdentity("t" * 13, 1)), calls.unopened(ALICE):
            pass
    with calls.unopened(session):
        pass


def test_who_has_no_identity_is_counted_by_connection_and_by_address() -> None:
    calls = OpenCalls()
    with ExitStack() as stack:
        assert until_refused(lambda: calls.of_stranger("ipv4:192.0.2.1:1"), stack)[0] == STRANGER_PER_CONNECTION
        ports = iter(range(2, 10_000))
        more, _ = until_refused(lambda: calls.of_stranger(f"ipv4:192.0.2.1:{next(ports)}"), stack)
        assert more == STRANGER_PER_ADDRESS - STRANGER_PER_CONNECTION
        with calls.of_stranger("ipv4:192.0.2.2:1"):
            pass


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:50312", "192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3::4%5D:50312", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:3::4]:50312", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.1]:50312", "192.0.2.1"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::/64"),
        ("unix-abstract:netvps%2F1000%2Fabcdef", "netvps/1000"),
        ("unix:", ""),
        ("ipv4:strange", "strange"),
    ],
)
def test_a_peer_has_an_address(peer: str, address: str) -> None:
    assert address_of(peer) == address


def test_limits_name_methods_that_there_are() -> None:
    methods = {"/netvps.api.v1.{}/{}".format(*name.split(".")) for name in described()}
    users = OpenCalls()._limits(ALICE)[1]
    assert (users.keys() | SESSION_LIMITS.keys() | RUNNER_LIMITS.keys()) - {""} <= methods
