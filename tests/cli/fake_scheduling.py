"""What a fake server does for programs that schedule sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from netvps.domain.batch import NewSession
from netvps.domain.names import SessionName
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.scheduling.lease import NamedLease, SessionLease
from netvps.domain.session.session import Session, SessionState
from netvps.errors import NotFound
from tests.cli.fake_people import MOMENT


class FakeScheduling:
    """Its part of FakeClient."""

    lease: SessionLease | None = None

    def _ask(self, method: str, *arguments: Any) -> None:
        raise NotImplementedError

    def create_many(self, drafts: list[NewSession]) -> list[Session]:
        from tests.cli.fake_client import session

        self._ask("create_many", drafts)
        return [session(draft.session_id, SessionState.PENDING, observed_generation=0) for draft in drafts]

    def reserve_address(self, runner: str, ttl: float) -> AddressReservation:
        self._ask("reserve_address", runner, ttl)
        return AddressReservation("token", "10.128.0.7", "", "", runner, MOMENT + timedelta(seconds=ttl))

    def with_lease(self, epoch: int) -> Self:
        self._ask("with_lease", epoch)
        return self

    def acquire_lease(self, name: str, holder: str, ttl: float, *, epoch: int = 0, force: bool = False) -> NamedLease:
        self._ask("acquire_lease", name, holder, ttl, epoch, force)
        self.lease = SessionLease("", holder, "alice", epoch or 42, MOMENT, MOMENT + timedelta(seconds=ttl))
        return self.get_lease(name)

    def release_lease(self, name: str, epoch: int = 0, *, force: bool = False) -> NamedLease:
        self._ask("release_lease", name, epoch, force)
        return self.get_lease(name)

    def get_lease(self, name: str) -> NamedLease:
        if self.lease is None:
            raise NotFound(f"session {name} is not leased")
        return NamedLease(self.lease, str(SessionName.parse(name, "alice")))
