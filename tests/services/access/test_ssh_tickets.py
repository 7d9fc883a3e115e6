"""Tickets of `netvps ssh-proxy`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.names import SshLogin
from netvps.domain.resumable import OPEN_SIZE, RESUME_SIZE
from netvps.domain.session.session import SessionState
from netvps.errors import Exhausted, InvalidInput, NotFound, NotPermitted
from netvps.services.access import ssh_tickets
from netvps.services.access.logins import Grant, SessionRef
from netvps.services.access.ssh_tickets import LIFE, OPEN_AT_ONCE, Admitted, SshTickets
from netvps.services.access.terminal_ui import TERMINAL_UI

ANN = Caller("ann", Role.USER)


class Logins:
    """Knows dev1 of each user, and leads other names to the terminal UI."""

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        if login.owner not in {None, user_name}:
            raise NotFound("another text")
        uid = "u" if login.session == "dev1" else TERMINAL_UI
        return Grant(SessionRef(uid, login.session, user_name, SessionState.RUNNING), login.unix_user, user_name)


@pytest.fixture
def now() -> list[datetime]:
    return [datetime(2026, 1, 1, tzinfo=UTC)]


@pytest.fixture
def tickets(now: list[datetime]) -> SshTickets:
    return SshTickets(Logins(), lambda: now[0])


async def test_a_ticket_says_once_who_goes_where(tickets: SshTickets) -> None:
    opening, resuming = bytes(OPEN_SIZE), bytes(RESUME_SIZE)
    first = await tickets.issue(ANN, "dev1", opening)
    second = await tickets.issue(ANN, "DEV1.ann.nv.internal", resuming)
    assert tickets.redeem(second) == Admitted("ann", SshLogin("dev1", "ann", "root"), resuming)
    assert tickets.redeem(first) == Admitted("ann", SshLogin("dev1", None, "root"), opening)
    for used in (first, second, "", "guess"):
        with pytest.raises(NotPermitted, match="was used, or has expired"):
            tickets.redeem(used)


async def test_a_ticket_expires(tickets: SshTickets, now: list[datetime]) -> None:
    early = await tickets.issue(ANN, "dev1", bytes(OPEN_SIZE))
    now[0] += LIFE - timedelta(seconds=1)
    late = await tickets.issue(ANN, "dev1", bytes(OPEN_SIZE))
    now[0] += timedelta(seconds=1)
    with pytest.raises(NotPermitted):
        tickets.redeem(early)
    assert tickets.redeem(late).user == "ann"


async def test_missing_and_foreign_sessions_look_the_same(tickets: SshTickets) -> None:
    said = []
    for host in ("nosuch", "dev1.bob"):
        with pytest.raises(NotFound) as raised:
            await tickets.issue(ANN, host, bytes(OPEN_SIZE))
        said.append(raised.value.message.replace(host, "X"))
    assert said == ["session 'X' is not open to you: `netvps ls` lists yours"] * 2


@pytest.mark.parametrize("host", ["", "a b", "dev1+ann", "x" * 300])
async def test_what_is_no_name_is_refused(tickets: SshTickets, host: str) -> None:
    with pytest.raises(InvalidInput):
        await tickets.issue(ANN, host, bytes(OPEN_SIZE))


@pytest.mark.parametrize("size", [0, OPEN_SIZE - 1, RESUME_SIZE + 1])
async def test_other_attachments_are_refused(tickets: SshTickets, size: int) -> None:
    with pytest.raises(InvalidInput, match="49 or 57: update netvps"):
        await tickets.issue(ANN, "dev1", bytes(size))


async def test_tickets_are_bounded(tickets: SshTickets, now: list[datetime], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(OPEN_AT_ONCE):
        await tickets.issue(ANN, "dev1", bytes(OPEN_SIZE))
    with pytest.raises(Exhausted, match="wait half a minute"):
        await tickets.issue(ANN, "dev1", bytes(OPEN_SIZE))
    bob = Caller("bob", Role.USER)
    assert await tickets.issue(bob, "dev1", bytes(OPEN_SIZE))
    monkeypatch.setattr(ssh_tickets, "_ALL", OPEN_AT_ONCE + 1)
    with pytest.raises(Exhausted):
        await tickets.issue(bob, "dev1", bytes(OPEN_SIZE))
    now[0] += LIFE
    assert await tickets.issue(ANN, "dev1", bytes(OPEN_SIZE))
