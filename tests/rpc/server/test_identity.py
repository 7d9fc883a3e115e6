from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.identity import Certified, RunnerIdentity, ServerIdentity, SessionIdentity
from netvps.errors import NotPermitted, Unauthenticated
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import Callable

UID = "0123456789abc"
PERSON, RUNNER, AGENT = Caller("alice", Role.USER), RunnerIdentity(UID), SessionIdentity(UID, 3)
SERVER = ServerIdentity(UID)


@pytest.mark.parametrize(
    ("ask", "welcome"),
    [
        (identity.caller, [PERSON]),
        (identity.runner, [RUNNER]),
        (identity.session, [AGENT]),
        (identity.server, [SERVER]),
        (identity.certified, [RUNNER, AGENT]),
    ],
)
def test_each_question_has_its_own_answers(ask: Callable[[], object], welcome: list[object]) -> None:
    for who in (PERSON, RUNNER, AGENT, SERVER):
        token = identity.current.set(who)
        if who in welcome:
            assert ask() == who
        else:
            with pytest.raises(NotPermitted, match="this call is for"):
                ask()
        identity.current.reset(token)


@pytest.mark.parametrize("who", [RUNNER, AGENT, SERVER])
def test_a_certificate_is_who_its_uri_says(who: Certified) -> None:
    names = [b"lab1", who.uri.encode()]
    assert identity.of_certificate({"x509_subject_alternative_name": names}) == who


@pytest.mark.parametrize(
    "names",
    [[], [b"lab1"], [RUNNER.uri.encode(), AGENT.uri.encode()], [b"netvps://runner/x"], [b"netvps:\xff"]],
)
def test_a_certificate_without_exactly_one_name_has_no_owner(names: list[bytes]) -> None:
    with pytest.raises(Unauthenticated):
        identity.of_certificate({"x509_subject_alternative_name": names})
