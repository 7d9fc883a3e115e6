from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.access.accounts import Credential, Role, SshKey, User
from netvps.domain.runner.runner import Runner
from netvps.domain.session.spec import SessionSpec
from netvps.errors import InvalidInput
from netvps.services.page import decode_token, encode_token, position, read_all, read_page
from tests.fakes.clock import FakeClock
from tests.fakes.world import ALICE, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World

NOW = FakeClock()()


@given(st.text().filter(lambda text: "\0" not in text), st.text().filter(lambda text: "\n" not in text))
def test_a_token_comes_back_as_it_went(after: str, scope: str) -> None:
    assert decode_token(encode_token(after, scope), scope) == after


@given(st.text())
def test_any_other_text_is_refused_whatever_it_is(token: str) -> None:
    with pytest.raises(InvalidInput, match="page_token: "):
        decode_token(token, "a list of mine")


def test_a_token_is_short() -> None:
    with pytest.raises(InvalidInput, match="page_token: "):
        decode_token(encode_token("x" * 100_000, "session"), "session")


def test_a_token_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidInput, match="start without one"):
        decode_token(encode_token("dev1.alice", "session&owner=alice"), "session")


async def test_size_and_token_are_refused_together(world: World) -> None:
    with pytest.raises(InvalidInput) as caught:
        await world.sessions.list(ALICE, page_size=1001, page_token="?")
    assert [violation.field for violation in caught.value.violations] == ["page_size", "page_token"]
    with pytest.raises(InvalidInput):
        await world.sessions.list(ALICE, page_size=-1)


async def test_no_token_after_the_last_page(world: World) -> None:
    async with world.store.read() as reader:
        page = await read_page(reader, User, 3, "")
        assert ([user.name for user in page.items], page.next_page_token) == (["alice", "bob", "root"], "")
        assert page.revision == reader.revision
        first = await read_page(reader, User, 2, "")
        assert [user.name for user in (await read_page(reader, User, 2, first.next_page_token)).items] == ["root"]


async def test_without_a_size_a_hundred_come(world: World) -> None:
    for number in range(101):
        await world.access.create_user(ROOT, f"user{number}", Role.USER)
    page = await world.access.list_users(ROOT)
    assert len(page.items) == 100
    assert page.next_page_token


def test_each_kind_stands_where_the_store_puts_it() -> None:
    assert position(User("alice", Role.USER, NOW)) == "alice"
    assert position(Runner("uid", "lab1", NOW, NOW)) == "lab1"
    assert position(SshKey("uid", "alice", "key", "SHA256:x", "", NOW)) == "SHA256:x"
    assert position(Credential("kid", "api", "alice", "", NOW, None)) == "kid"


async def test_all_are_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.page.MAX_SIZE", 5)
    async with world.store.write("test") as tx:
        for number in range(7):  # with the three that are there, the last page is full
            await tx.put(User(f"user{number}", Role.USER, NOW))
        assert await read_all(tx, User) == await tx.find(User)
        assert await read_all(tx, User, role=Role.ADMIN) == await tx.find(User, role=Role.ADMIN)


async def test_a_page_ends_at_its_bytes_and_the_next_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.page.MAX_BYTES", 100_000)
    monkeypatch.setattr("netvps.services.page._READ", 7)
    labels = {f"l{number}": "x" * 255 for number in range(32)}
    for number in range(30):
        spec = SessionSpec(image="debian:12", labels=labels, env={"A": "x" * 30_000})
        await world.sessions.create(ALICE, session_id=f"dev{number:02}", owner="", spec=spec)
    names, token, pages = [], "", 0
    while True:
        page = await world.sessions.list(ALICE, page_size=20, page_token=token)
        names += [session.name for session in page.items]
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
        assert len(page.items) == 9
    assert names == [f"dev{number:02}" for number in range(30)]
    assert pages == 4


async def test_a_page_has_one_item_however_large_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.page.MAX_BYTES", 1)
    async with world.store.read() as reader:
        first = await read_page(reader, User, 2, "")
        assert [user.name for user in first.items] == ["alice"]
        second = await read_page(reader, User, 2, first.next_page_token)
        assert [user.name for user in second.items] == ["bob"]


async def test_pages_in_an_order_follow_each_other_and_their_tokens_hold_for_it_alone(world: World) -> None:
    for name in ("dev1", "dev2", "dev3", "web1"):
        await world.sessions.create(ALICE, session_id=name, owner="", spec=SessionSpec(image="debian:12"))
    names, token = [], ""
    while True:
        page = await world.sessions.list(
            ALICE, page_size=2, page_token=token, matching="dev", order_by="image, name desc"
        )
        names += [session.name for session in page.items]
        if not page.next_page_token:
            break
        token = page.next_page_token
    assert names == ["dev3", "dev2", "dev1"]
    for matching, order_by in (("dev", ""), ("", "image, name desc"), ("de", "image"), ("", "")):
        with pytest.raises(InvalidInput, match=r"page_token: .* start without one"):
            await world.sessions.list(ALICE, page_token=token, matching=matching, order_by=order_by)


async def test_a_token_without_the_values_of_its_order_is_refused(world: World) -> None:
    for name in ("dev1", "dev2"):
        await world.sessions.create(ALICE, session_id=name, owner="", spec=SessionSpec(image="debian:12"))
    page = await world.sessions.list(ALICE, page_size=1, order_by="name")
    scope = base64.urlsafe_b64decode(page.next_page_token + "==").decode().partition("\n")[0]
    for after in ("dev1.alice", "dev1\n\ndev1.alice"):
        with pytest.raises(InvalidInput, match=r"page_token: .* is no next_page_token of this order"):
            await world.sessions.list(ALICE, page_token=encode_token(after, scope), order_by="name")


def test_a_token_has_no_zero_characters_which_databases_refuse() -> None:
    with pytest.raises(InvalidInput, match="page_token: "):
        decode_token(encode_token("a\0", "session"), "session")
