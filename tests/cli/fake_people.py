"""The part of the fake server that knows people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from netvps.domain.access.accounts import ApiKey, Role, Scope, User
from netvps.domain.access.invitations import InvitationState, InvitationView
from netvps.domain.access.oidc import LoginState, StartedLogin
from netvps.domain.access.quota import NO_LIMIT, Amounts, Quota, QuotaUse

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakePeople:
    """Users, their API keys, and invitations."""

    api_keys: list[ApiKey]
    login_answers: list[LoginState | BaseException]

    def _ask(self, method: str, *arguments: Any) -> None:
        raise NotImplementedError

    def get_user(self, name: str = "me") -> User:
        self._ask("get_user", name)
        return User("alice", Role.ADMIN, MOMENT)

    def list_users(self) -> Iterator[User]:
        self._ask("list_users")
        yield User("alice", Role.ADMIN, MOMENT)

    def create_user(self, name: str, role: Role) -> User:
        self._ask("create_user", name, role)
        return User(name, role, MOMENT)

    def update_user(self, name: str, role: Role | None = None, quota: Mapping[str, int | None] | None = None) -> User:
        self._ask("update_user", name, role, quota)
        return User(name, role or Role.USER, MOMENT)

    def get_user_quota(self, name: str = "me") -> QuotaUse:
        self._ask("get_user_quota", name)
        limits = Quota(NO_LIMIT, 4000, 8 << 30, NO_LIMIT, NO_LIMIT)
        return QuotaUse(limits, Amounts(sessions=2, millicpus=1500, memory_bytes=3 << 30))

    def delete_user(self, name: str) -> User:
        self._ask("delete_user", name)
        return User(name, Role.USER, MOMENT)

    def list_api_keys(self, user: str = "me") -> Iterator[ApiKey]:
        self._ask("list_api_keys", user)
        yield from self.api_keys

    def create_api_key(
        self, user: str = "me", *, title: str = "", ttl: float | None = None, scope: Scope = Scope.FULL
    ) -> str:
        self._ask("create_api_key", user, title, ttl, scope)
        return "nv_kid_secret"

    def register_user(self, name: str, public_key: str, token: str = "") -> tuple[User, str]:
        self._ask("register_user", name, public_key.split(maxsplit=1)[0], token)
        return User(name, Role.USER, MOMENT), "nv_kid_secret"

    def start_login(self) -> StartedLogin:
        self._ask("start_login")
        url = "https://login.example/device"
        ends = datetime.now(UTC) + timedelta(minutes=10)
        return StartedLogin("sealed", "WDJB-MJHT", url, f"{url}?user_code=WDJB-MJHT", ends, 5.0)

    def finish_login(self, token: str, public_key: str) -> tuple[User, str, datetime] | LoginState:
        self._ask("finish_login", token, public_key.split(maxsplit=1)[0])
        answer = self.login_answers.pop(0) if self.login_answers else LoginState.DONE
        if isinstance(answer, BaseException):
            raise answer
        return (User("ann", Role.USER, MOMENT), "nv_kid_secret", MOMENT) if answer is LoginState.DONE else answer

    def create_invitation(self, role: Role, *, ttl: float | None = None, note: str = "") -> tuple[InvitationView, str]:
        self._ask("create_invitation", role, ttl, note)
        return self._invitation(role, note), "nvi_kid_secret_fingerprint"

    def list_invitations(self) -> Iterator[InvitationView]:
        self._ask("list_invitations")
        yield self._invitation(Role.USER, "for Ann")
        yield replace(self._invitation(Role.USER, ""), state=InvitationState.REDEEMED, redeemed_by="bob")

    def delete_invitation(self, kid: str) -> None:
        self._ask("delete_invitation", kid)

    def _invitation(self, role: Role, note: str) -> InvitationView:
        return InvitationView("kid", "alice", role, note, MOMENT, MOMENT + timedelta(hours=72), InvitationState.OPEN)

    def rotate_api_key(self, name: str, overlap: float | None = None) -> str:
        self._ask("rotate_api_key", name, overlap)
        return "nv_kid_secret"

    def delete_api_key(self, name: str) -> None:
        self._ask("delete_api_key", name)
