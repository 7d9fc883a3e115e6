"""`netvps url add`, `ls` and `rm`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from netvps import exit_codes
from netvps.domain.http.stored import Audience, NamedUrl, StoredUrl
from netvps.domain.names import SessionName

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.cli.fake_client import FakeClient

AT = datetime(2026, 1, 2, tzinfo=UTC)


def test_add_says_who_may_open_what(run: Run, fake: FakeClient) -> None:
    ran = run("url", "add", "dev1", "3000", "--share", "bob", "--share", "eve")
    assert ran.out == "http://3000--dev1.localhost:7481/\n"
    assert "(port 3000, bob eve)" in ran.err
    assert (
        run("url", "add", "dev1", "--name", "BÜCHER.example.", "--public").out == "http://xn--bcher-kva.example:7481/\n"
    )
    assert [asked[3] for asked in fake.asked] == [Audience.USERS, Audience.PUBLIC]
    assert fake.asked[1][2] == 8080


@pytest.mark.parametrize(
    "words",
    [("--public", "--members"), ("--public", "--share", "bob"), ("--name", "ß" * 300 + ".example"), ("--until", "x")],
)
def test_what_cannot_be_is_a_mistake_of_use(run: Run, fake: FakeClient, words: tuple[str, ...]) -> None:
    assert run("url", "add", "dev1", *words).code == exit_codes.USAGE
    assert fake.asked == []


def test_ls_and_rm(run: Run, fake: FakeClient) -> None:
    assert "none was added" in run("url", "ls").err
    url = StoredUrl("", "alice", 3000, Audience.MEMBERS, AT, "shop.example", expire_time=AT)
    fake.urls = [NamedUrl(url, SessionName("alice", "dev1"), "https://shop.example/")]
    assert "dev1.alice  shop.example  3000  members  " in run("url", "ls", "dev1").out
    assert '"audience": "URL_AUDIENCE_MEMBERS"' in run("url", "ls", "-o", "json").out
    assert run("url", "rm", "dev1", "Shop.example").out == "shop.example\n"
    assert fake.asked[-1] == ("delete_url", "dev1", "shop.example")
