"""`netvps pause`, `resume`, `rename`, `resize` and `set`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netvps import exit_codes
from netvps.domain.session.event import SessionEvent
from netvps.domain.session.session import Author, ChangeCause, DesiredState, SessionState
from netvps.domain.session.spec import RestartPolicy, SessionSpec
from netvps.domain.sleep.policy import SleepPolicy, WakePolicy
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.errors import AlreadyExists, Changed, Exhausted, WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session

SPEC = SessionSpec(image="debian:12", labels={"team": "x", "old": "1"})


def after(state: SessionState, desired: DesiredState = DesiredState.RUNNING, **changes: Any) -> SessionEvent:
    """The last event of a change of dev1."""
    return put(session("dev1", state, desired=desired, generation=2, observed_generation=2, **changes), 7)


@pytest.fixture(autouse=True)
def sessions(fake: FakeClient) -> None:
    fake.sessions = {"dev1": session("dev1", spec=SPEC), "db": session("db")}


def test_a_pause_waits_until_it_is_frozen(run: Run, fake: FakeClient) -> None:
    fake.script = [after(SessionState.PAUSED, DesiredState.PAUSED)]
    ran = run("pause", "dev1")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert ran.err.splitlines()[-1] == "session dev1 is paused; `netvps resume dev1`, or a login, resumes it"


def test_a_pause_that_its_runner_cannot_do_is_an_error(run: Run, fake: FakeClient) -> None:
    words = "it runs on, because it cannot be paused: no freezer"
    fake.script = [after(SessionState.RUNNING, DesiredState.PAUSED, reason="pause_failed", message=words)]
    ran = run("pause", "dev1")
    assert (ran.code, ran.out) == (exit_codes.CONFLICT, "")
    assert ran.err.splitlines()[-1] == f"netvps: session dev1: {words}"
    fake.errors["pause_session"] = WrongState("session dev1 is STOPPED, and only a running session can be paused")
    assert run("pause", "dev1").code == exit_codes.CONFLICT


def test_a_resume_waits_until_it_runs(run: Run, fake: FakeClient) -> None:
    fake.script = [after(SessionState.RUNNING)]
    ran = run("resume", "dev1")
    assert (ran.code, ran.err.splitlines()[-1]) == (0, "session dev1 runs")
    assert ("resume_session", "dev1") in fake.asked
    assert run("unpause", "dev1").code == 0


def test_a_start_that_ends_by_itself_is_an_error_with_the_cause(run: Run, fake: FakeClient) -> None:
    cause = "its container ended by itself (exit code 3), and its restart policy is never"
    by = Author(cause=ChangeCause.ENDED)
    fake.script = [after(SessionState.STOPPED, DesiredState.STOPPED, message=cause, desired_by=by)]
    ran = run("start", "dev1")
    assert ran.code == exit_codes.CONFLICT
    assert ran.err.splitlines()[-1] == f"netvps: session dev1 is stopped: {cause}; `netvps start dev1` starts it"


def test_a_rename_prints_the_new_name(run: Run, fake: FakeClient) -> None:
    ran = run("rename", "dev1", "web")
    assert (ran.code, ran.out, ran.err) == (0, "web\n", "session dev1 is web now\n")
    fake.errors["rename_session"] = AlreadyExists("session db exists already: choose another name")
    assert run("rename", "dev1", "db").code == exit_codes.CONFLICT


def test_a_resize_changes_what_is_given_and_waits_for_the_runner(run: Run, fake: FakeClient) -> None:
    fake.script = [after(SessionState.RUNNING, spec=replace(SPEC, cpus=2.0, memory_bytes=4 << 30))]
    ran = run("resize", "dev1", "--cpus", "2", "--memory", "4G")
    assert ran.code == 0, ran.err
    assert ("update_session", "dev1", {"cpus": 2.0, "memory_bytes": 4 << 30}, 0) in fake.asked
    assert ran.err.splitlines()[-1] == "session dev1 has 2 CPUs, 4G of memory and at most 4096 processes"


def test_a_resize_says_when_a_new_disk_limit_holds(run: Run, fake: FakeClient) -> None:
    spec, words = replace(SPEC, disk_bytes=20 << 30), "a disk of 20 GiB from its next start on"
    fake.script = [after(SessionState.RUNNING, spec=spec, reason="disk_limit", message=words)]
    ran = run("resize", "dev1", "--disk", "20G")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert ran.err.splitlines()[-1].endswith(f"at most 4096 processes; {words}")
    fake.script = [after(SessionState.RUNNING, spec=spec)]
    assert run("resize", "dev1", "--disk", "20G").err.splitlines()[-1].endswith(" processes, and 20G of disk")


def test_a_resize_that_does_not_fit_is_an_error_with_the_figures(run: Run, fake: FakeClient) -> None:
    words = "it keeps its limits: 812 MiB of memory are in use, more than the new limit of 512 MiB"
    fake.script = [after(SessionState.RUNNING, reason="resize_refused", message=words)]
    ran = run("resize", "dev1", "--memory", "512M")
    assert (ran.code, ran.out) == (exit_codes.CAPACITY, "")
    assert ran.err.splitlines()[-1] == f"netvps: session dev1: {words}"
    fake.errors["update_session"] = Exhausted("session dev1 keeps its limits: 9 CPUs are more than the 8 of lab1")
    assert run("resize", "dev1", "--cpus", "9").code == exit_codes.CAPACITY


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["resize", "dev1"], "no limit is given"),
        (["resize", "dev1", "--pids", "3"], "--pids: 3 is not between 16"),
        (["set", "dev1"], "nothing is given to change"),
        (["set", "dev1", "--restart", "sometimes"], "'sometimes' is not always, on-failure, on-failure:N or never"),
        (["set", "dev1", "--restart", "never:3"], "'never:3' is not always"),
        (["set", "dev1", "--restart", "on-failure:x"], "'on-failure:x' is not always"),
        (["set", "dev1", "--stop-keep", "101"], "--stop-keep: 101 is not between 1 and 100"),
        (["set", "dev1", "--restart", "on-failure:9999"], "--restart: 9999 is not between 1 and 1000"),
    ],
)
def test_what_is_wrong_is_said_with_the_option(run: Run, fake: FakeClient, words: list[str], says: str) -> None:
    ran = run(*words)
    assert ran.code == exit_codes.USAGE
    assert says in ran.err
    assert fake.asked == []


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["--protect"], {"delete_protection": True}),
        (["--wake", "never"], {"wake": WakePolicy.NEVER}),
        (["--no-protect"], {"delete_protection": False}),
        (["--restart", "never"], {"restart_policy": RestartPolicy.NEVER, "max_restarts": 0}),
        (["--restart", "on-failure:3"], {"restart_policy": RestartPolicy.ON_FAILURE, "max_restarts": 3}),
        (["--restart", "on-failure"], {"restart_policy": RestartPolicy.ON_FAILURE, "max_restarts": 0}),
        (["--stop-grace", "1m"], {"stop_grace": 60.0}),
        (["--stop-keep", "3", "--stop-max-age", "30d"], {"snapshot_keep": 3, "snapshot_max_age": 30 * 86_400.0}),
    ],
)
def test_settings_are_changed_one_by_one(run: Run, fake: FakeClient, words: list[str], changes: object) -> None:
    ran = run("set", "dev1", "db", *words)
    assert (ran.code, ran.out) == (0, "dev1\ndb\n")
    assert [asked[1:3] for asked in fake.asked if asked[0] == "update_session"] == [("dev1", changes), ("db", changes)]


def test_labels_are_changed_as_of_what_was_read(run: Run, fake: FakeClient) -> None:
    assert run("set", "dev1", "-l", "team=y", "--no-label", "old").code == 0
    assert ("update_session", "dev1", {"labels": {"team": "y"}}, 1) in fake.asked
    fake.errors["update_session"] = Changed("session dev1 changed since revision 1")
    assert run("set", "dev1", "-l", "team=z").code == exit_codes.CONFLICT


def test_a_policy_is_changed_as_of_what_was_read(run: Run, fake: FakeClient) -> None:
    before = SnapshotPolicy(("/var/cache", "/tmp/x"), every=3600.0, keep=3)
    fake.sessions["dev1"] = session("dev1", spec=replace(SPEC, snapshot_policy=before))
    ran = run(
        *("set", "dev1", "--exclude", "/root/.cache", "--no-exclude", "/tmp/x", "--snapshot-daily", "03:00"),
        *("--snapshot-max-age", "30d"),
    )
    assert ran.code == 0
    policy = SnapshotPolicy(("/var/cache", "/root/.cache"), daily_at="03:00", keep=3, max_age=30 * 86_400.0)
    assert ("update_session", "dev1", {"snapshot_policy": policy}, 1) in fake.asked
    assert run("set", "dev1", "--copies", "2").code == 0
    assert ("update_session", "dev1", {"snapshot_policy": replace(before, copies=2)}, 1) in fake.asked
    bad = run("set", "dev1", "--exclude", "cache")
    assert (bad.code, "'cache' is no absolute path" in bad.err) == (exit_codes.USAGE, True)
    assert bad.err.startswith("netvps: --exclude ")


def test_when_it_sleeps_is_changed_as_of_what_was_read(run: Run, fake: FakeClient) -> None:
    fake.sessions["dev1"] = session("dev1", spec=replace(SPEC, sleep=SleepPolicy(60.0, 0.0, awake_hours="08:00-18:00")))
    assert run("set", "dev1", "--idle-stop", "2h", "--idle-pause", "default", "--awake", "always").code == 0
    assert ("update_session", "dev1", {"sleep": SleepPolicy(None, 7200.0)}, 1) in fake.asked
    bad = run("set", "dev1", "--lifetime", "1s")
    assert (bad.code, "--lifetime: 1 seconds" in bad.err) == (exit_codes.USAGE, True)
