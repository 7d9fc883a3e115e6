"""`netvps ls` and `show`, in every form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps import exit_codes
from netvps.domain.session.session import LastExit, SessionState, SnapshotImage
from netvps.domain.sleep.policy import SleepPolicy
from netvps.domain.snapshot.snapshot import Holder, Snapshot, SnapshotCause, SnapshotState
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient, session

_SNAPSHOT = Snapshot("1", "uid-dev1", "dev1", "alice", "one", SnapshotCause.STOP, NOW, NOW, SnapshotState.READY)


@pytest.fixture(autouse=True)
def sessions(fake: FakeClient) -> None:
    recent = datetime.now(UTC) - timedelta(minutes=5, seconds=10)
    fake.sessions = {
        "dev1": session("dev1", create_time=recent, address="172.30.0.2"),
        "db": session("db", SessionState.STOPPED, create_time=recent, message="its files are kept"),
    }


def test_a_table_for_people(run: Run) -> None:
    assert run("ls").out.splitlines() == [
        "NAME  STATE    IMAGE      RUNNER  AGE",
        "dev1  RUNNING  debian:12  box1    5m",
        "db    STOPPED  debian:12  box1    5m",
    ]


def test_wide_has_more_columns(run: Run) -> None:
    heading, dev1, _ = run("ls", "-o", "wide").out.splitlines()
    assert heading.split()[-6:] == ["ADDRESS", "COPIES", "GPUS", "WANTED", "UID", "MESSAGE"]
    assert "172.30.0.2" in dev1


def test_wide_says_how_many_of_its_copies_the_newest_snapshot_of_a_session_has(run: Run, fake: FakeClient) -> None:
    two = (Holder("", "box1"), Holder("", "box2"))
    fake.newest = [
        replace(_SNAPSHOT, uid="2", copies=2, holders=two),
        replace(_SNAPSHOT, uid="1", copies=1, holders=two[:1]),
        replace(_SNAPSHOT, uid="3", copies=2, state=SnapshotState.FAILED),
        replace(_SNAPSHOT, uid="1", session="uid-db", copies=3, holders=(*two, Holder("", "box3", leaving=True))),
    ]
    heading, dev1, db = run("ls", "-a", "-o", "wide").out.splitlines()
    column = heading.index("COPIES")
    assert [dev1[column:].split()[0], db[column:].split()[0]] == ["2/2", "2/3"]
    assert ("list_snapshots", "", "-") in fake.asked
    run("ls")
    assert sum(asked[0] == "list_snapshots" for asked in fake.asked) == 1


def test_a_session_shows_its_gpus_and_those_that_it_asks_for_while_it_is_stopped(run: Run, fake: FakeClient) -> None:
    session = fake.sessions["dev1"]
    fake.sessions["dev1"] = replace(session, spec=replace(session.spec, gpus=2, disk_bytes=20 << 30))
    shown = run("show", "dev1").out
    assert "none now; it asks for 2 GPUs" in shown
    assert "20G" in shown
    fake.sessions["dev1"] = replace(session, spec=replace(session.spec, gpus=1), gpus=("GPU-1",))
    assert "GPU-1" in run("show", "dev1").out


def test_json_is_that_of_the_proto(run: Run) -> None:
    first, second = json.loads(run("ls", "-o", "json").out)
    assert first["name"] == "sessions/dev1.alice"
    assert first["state"] == "SESSION_STATE_RUNNING"
    assert first["spec"]["image"] == "debian:12"
    assert second["revision"] == "1"


def test_jsonl_is_one_line_each_and_name_the_names(run: Run) -> None:
    assert [json.loads(line)["uid"] for line in run("ls", "-o", "jsonl").out.splitlines()] == ["uid-dev1", "uid-db"]
    assert run("ls", "-o", "name").out == "dev1\ndb\n"


def test_yaml_reads_back(run: Run) -> None:
    out = run("show", "db", "-o", "yaml").out
    assert "name: sessions/db.alice\n" in out
    assert "spec:\n  image: debian:12\n" in out
    assert "revision: '1'" in out


@pytest.mark.parametrize(("words", "parent"), [([], ""), (["--all"], "-"), (["--owner", "bob"], "bob")])
def test_whose_sessions(words: list[str], parent: str, run: Run, fake: FakeClient) -> None:
    out = run("ls", *words, "-o", "name").out
    assert fake.asked == [("list_sessions", parent)]
    assert ("dev1.alice" in out) is bool(words)


def test_all_and_owner_exclude_each_other(run: Run) -> None:
    assert run("ls", "--all", "--owner", "bob").code == exit_codes.USAGE


def test_no_sessions_is_said_on_stderr(run: Run, fake: FakeClient) -> None:
    fake.sessions = {}
    ran = run("ls")
    assert (ran.code, ran.out) == (0, "")
    assert "`netvps create` makes one" in ran.err
    assert run("ls", "-o", "json").out == "[]\n"


def test_show_tells_all_and_how_to_get_in(run: Run, fake: FakeClient) -> None:
    snapshot = SnapshotImage("s", "uid-db", "netvps-snapshot/vps-x:1", "sha256:0", 3 << 20, 2, "box1", 1, NOW)
    fake.sessions["db"] = replace(fake.sessions["db"], snapshot=snapshot, last_exit=LastExit(137, "oom", NOW))
    out = run("show", "db").out
    for fact in (
        "db.alice",
        "STOPPED",
        "its files are kept",
        "no limit",
        "3M, netvps-snapshot/vps-x:1",
        "out of memory (exit code 137), at ",
    ):
        assert fact in out
    assert "netvps ssh db\n" in out
    assert "ssh db@127.0.0.1 -p 2222\n" in out


def test_show_of_what_is_not_there(run: Run) -> None:
    ran = run("show", "none")
    assert (ran.code, ran.err) == (exit_codes.NOT_FOUND, "netvps: there is no session none\n")


def test_a_table_cannot_steer_the_terminal(run: Run, fake: FakeClient) -> None:
    fake.sessions["db"] = replace(fake.sessions["db"], message="\x1b[31mred\nnext line\u202e")
    for form in ("table", "wide", "json", "jsonl", "yaml"):
        out = run("ls", "-o", form).out + run("show", "db", "-o", form).out
        assert "\x1b" not in out
        assert "\u202e" not in out


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (SleepPolicy(), ""),
        (SleepPolicy(1800.0, 0.0), "paused after 30m idle, never stopped when idle"),
        (
            SleepPolicy(lifetime=43_200.0, awake_hours="08:00-18:00"),
            "stopped 12h after each start, stopped at the end of 08:00-18:00 UTC",
        ),
    ],
)
def test_a_session_shows_when_it_sleeps(run: Run, fake: FakeClient, policy: SleepPolicy, words: str) -> None:
    fake.sessions["dev1"] = replace(fake.sessions["dev1"], spec=replace(fake.sessions["dev1"].spec, sleep=policy))
    lines = [
        line.removeprefix("sleep").strip() for line in run("show", "dev1").out.splitlines() if line.startswith("sleep")
    ]
    assert lines == ([words] if words else [])
