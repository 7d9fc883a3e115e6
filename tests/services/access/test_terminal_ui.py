"""Tokens of terminal UIs, and who is offered the UI."""

from __future__ import annotations

import pytest

from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.names import SshLogin
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Exhausted, NotFound, NotPermitted, Unauthenticated
from netvps.services.access import terminal_ui
from netvps.services.access.logins import Logins
from netvps.services.access.terminal_ui import TERMINAL_UI, TOKEN_PREFIX, UiTokens
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB, World


def test_a_token_is_for_one_user_until_it_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_ui, "_MAX_TOKENS", 2)
    tokens = UiTokens()
    token = tokens.mint("alice")
    assert token.startswith(TOKEN_PREFIX)
    assert tokens.mint("bob") != token
    assert tokens.user_of(token) == "alice"
    with pytest.raises(Exhausted):
        tokens.mint("carol")
    tokens.revoke(token)
    tokens.revoke(token)
    with pytest.raises(Unauthenticated):
        tokens.user_of(token)


@pytest.fixture
async def logins(world: World) -> Logins:
    """Alice has key 1 and a session dev1, in whose spec is key 4."""
    await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))
    await world.session("dev1", ALICE, SessionSpec(authorized_keys=(ed25519(4),)))
    await world.session("dev2", BOB)
    return Logins(world.store, world.clock, world.ca, world.feed)


def _print(number: int) -> str:
    return PublicKey.parse(ed25519(number)).fingerprint


@pytest.mark.parametrize("login", ["alice", "dev2", "terminal-ui", "tui", "_apt", "Alice"])
async def test_a_registered_key_gets_the_ui_where_it_has_no_session_of_that_name(logins: Logins, login: str) -> None:
    for grant in (
        await logins.authorize(SshLogin.of_client(login), _print(1)),
        await logins.authorize_user(SshLogin.of_client(login), "alice"),
    ):
        assert (grant.session.uid, grant.user) == (TERMINAL_UI, "alice")


async def test_a_session_comes_first(logins: Logins) -> None:
    assert (await logins.authorize(SshLogin.of_client("dev1"), _print(1))).session.name == "dev1"


@pytest.mark.parametrize("login", ["dev9.alice", "dev2.bob", "dev9+me"])
async def test_who_names_an_owner_or_a_unix_user_means_a_session(logins: Logins, login: str) -> None:
    with pytest.raises(NotFound):
        await logins.authorize(SshLogin.of_client(login), _print(1))
    with pytest.raises(NotFound):
        await logins.authorize_user(SshLogin.of_client(login), "alice")


@pytest.mark.parametrize(("login", "key"), [("dev9", 4), ("dev9", 5), ("dev2", 4), ("Alice", 5)])
async def test_keys_without_a_user_get_no_ui_and_no_hint(logins: Logins, login: str, key: int) -> None:
    with pytest.raises(NotPermitted, match="is not registered"):
        await logins.authorize(SshLogin.of_client(login), _print(key))
