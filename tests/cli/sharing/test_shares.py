"""`netvps share`, `unshare`, `shares`, and what `show` says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from netvps import exit_codes
from netvps.domain.access.sharing import ShareRole
from netvps.errors import NotPermitted
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session


def test_share_says_what_the_other_one_types(run: Run, fake: FakeClient) -> None:
    ran = run("share", "dev1", "bob")
    assert fake.asked == [("share_session", "dev1", "bob", ShareRole.VIEW, None)]
    assert ran.out == "dev1.alice\n"
    assert "bob may watch it\n" in ran.err
    assert "bob types `ssh watch+dev1.alice@GATEWAY -p PORT`" in ran.err
    assert "bob types `netvps ssh dev1.alice`" in run("share", "dev1", "bob", "--role", "use").err


def test_the_end_is_a_time_from_now_or_a_moment(run: Run, fake: FakeClient) -> None:
    run("share", "dev1", "bob", "--role", "use", "--until", "2h")
    *_, end = fake.asked[-1]
    assert timedelta(0) <= datetime.now(UTC) + timedelta(hours=2) - end < timedelta(minutes=1)
    run("share", "dev1", "bob", "--until", "2199-01-31T12:00")
    assert fake.asked[-1][-1] == datetime.fromisoformat("2199-01-31T12:00").astimezone()
    for bad in ("soon", "2001-01-01", "0s"):
        ran = run("share", "dev1", "bob", "--until", bad)
        assert ran.code == exit_codes.USAGE
        assert f"--until: '{bad}' is" in ran.err


def test_unshare(run: Run, fake: FakeClient) -> None:
    assert run("unshare", "dev1", "bob").out == "dev1.alice\n"
    assert fake.asked == [("unshare_session", "dev1", "bob")]


def test_shares_of_a_session_and_with_oneself(run: Run, fake: FakeClient) -> None:
    assert "no session is shared with you" in run("shares").err
    fake.share_session("dev1", "bob", ShareRole.USE)
    lines = run("shares", "dev1").out.splitlines()
    assert lines[0].split() == ["SESSION", "USER", "ROLE", "UNTIL", "AGE"]
    assert lines[1].split()[:3] == ["dev1.alice", "bob", "use"]
    assert '"name": "sessions/dev1.alice/shares/bob"' in run("shares", "dev1", "-o", "json").out
    assert fake.asked[-1] == ("list_shares", "dev1")


def test_show_says_with_whom_a_session_is_shared(run: Run, fake: FakeClient) -> None:
    fake.sessions["dev1"] = session()
    fake.share_session("dev1", "bob", ShareRole.USE, datetime(2199, 1, 31, tzinfo=UTC))
    assert "bob may use it until 2199-01-3" in run("show", "dev1").out
    fake.errors["list_shares"] = NotPermitted("it is shared with you")
    ran = run("show", "dev1")
    assert ran.code == 0
    assert "may use it" not in ran.out
