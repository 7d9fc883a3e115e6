"""`netvps create`, from options to the line to type next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.access.ssh_files import SshFiles
from netvps.domain.runner.placement import Verdict
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.domain.sleep.policy import WakePolicy
from netvps.errors import AlreadyExists
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session
from tests.fakes.keys import ed25519


@pytest.fixture
def key(fake: FakeClient) -> None:
    """A key of this person is registered, and their ssh is left alone."""
    SshFiles().remove()
    fake.create_ssh_key(ed25519(1))
    fake.asked.clear()


@pytest.mark.usefixtures("key")
def test_without_arguments_it_waits_and_ends_with_what_to_type(run: Run, fake: FakeClient) -> None:
    otter = session("brave-otter", SessionState.PREPARING, observed_generation=0, message="pulling debian:12")
    fake.script = [put(otter, 2), put(session("brave-otter"), 3)]
    ran = run("create")
    assert (ran.code, ran.out) == (0, "brave-otter\n")
    assert ran.err.splitlines() == [
        "brave-otter is PENDING: waiting for a runner",
        "brave-otter is PREPARING: pulling debian:12",
        "session brave-otter runs on box1",
        "next: netvps ssh brave-otter",
    ]
    assert ("watch_sessions", "alice", 1) in fake.asked


def test_a_refused_create_registers_no_key(run: Run, fake: FakeClient) -> None:
    fake.errors["create_session"] = AlreadyExists("session dev1 exists already")
    assert run("create", "dev1").code == exit_codes.CONFLICT
    assert [call for call, *_ in fake.asked] == ["create_session"]


@pytest.mark.usefixtures("key")
def test_options_become_the_spec(run: Run, fake: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "other.pub").write_text(f"{ed25519(2)} bob@laptop\n")
    words = ["--image", "debian:12", "--cpus", "1.5", "--memory", "2G", "--shm-size", "1G", "--pids", "100",
             "--open-files", "65536", "--disk", "20G", "--gpus", "2", "--env", "A=b=c", "--env", "E=",
             "--label", "team=x", "--network", "none", "--entrypoint", "--stop-grace", "1m", "--wake", "always",
             "--ssh-key", str(tmp_path / "other.pub")]  # fmt: skip
    ran = run("create", "dev1", *words, "--no-wait")
    assert ran.code == 0
    assert ran.err.splitlines()[0] == "session dev1 is being made; `netvps watch` shows how"
    asked = SessionSpec(
        image="debian:12", cpus=1.5, memory_bytes=2 << 30, shm_bytes=1 << 30, pids=100, open_files=65536,
        disk_bytes=20 << 30, gpus=2,
        env={"A": "b=c", "E": ""}, labels={"team": "x"},
        network=Network.NONE, run_entrypoint=True, stop_grace=60.0, wake=WakePolicy.ALWAYS,
        authorized_keys=(ed25519(2),),
    )  # fmt: skip
    assert fake.asked[0] == ("create_session", "dev1", asked, "", False)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("network", Network)
def test_every_network_can_be_asked_for(run: Run, fake: FakeClient, network: Network) -> None:
    assert run("create", "dev1", "--network", network.lower(), "--no-wait").code == 0
    assert fake.asked[0][2].network is network


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory", "lots"], "'lots' is not a size"),
        (["--cpus", "many"], "--cpus: 'many' is not a number: give for example 1.5"),
        (["--cpus", "-1"], "--cpus: -1.0 is not between"),
        (["--env", "A"], "'A' is not KEY=VALUE"),
        (["--env", "A=1", "--env", "A=2"], "'A' is given twice"),
        (["--stop-grace", "soon"], "'soon' is not a time"),
        (["--ssh-key", "/none"], "does not exist"),
        (["--image", "UPPER case"], "is not an image reference"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_asked(words: list[str], said: str, run: Run, fake: FakeClient) -> None:
    ran = run("create", *words)
    assert ran.code == exit_codes.USAGE
    assert said in ran.err
    assert fake.asked == []


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(("reason", "code"), [("image", 3), ("disk", 6), ("runner_lost", 7), ("", 5)])
def test_a_failed_session_tells_why_and_what_to_do(reason: str, code: int, run: Run, fake: FakeClient) -> None:
    fake.script = [put(session("dev1", SessionState.FAILED, reason=reason, message="there is no image x"), 2)]
    ran = run("create", "dev1")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.splitlines()[-1] == (
        "netvps: session dev1 failed: there is no image x; `netvps start dev1` tries again, `netvps rm dev1` removes it"
    )


@pytest.mark.usefixtures("key")
def test_a_dry_run_makes_nothing(run: Run, fake: FakeClient) -> None:
    ran = run("create", "dev1", "--dry-run", "-o", "json")
    assert json.loads(ran.out)["name"] == "sessions/dev1.alice"
    assert [asked[-1] for asked in fake.asked if asked[0] == "create_session"] == [True]


@pytest.mark.usefixtures("key")
def test_a_dry_run_says_what_it_would_make_and_where(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run("create", "dev1", "--image", "debian:12", "--memory", "2G", "--dry-run")
    assert ran.out == "would create session dev1 from debian:12 (2G of memory) on runner box1\n"
    assert ran.err == "dry run: nothing was created\n"
    fake.verdicts = (Verdict("box1"), *(Verdict(f"lab{number}", "it is offline") for number in range(11)))
    ran = run("create", "dev1", "--dry-run", "--on", "labels.rack=3", "--placement", "pack")
    assert ran.err.splitlines()[0] == "not on lab0: it is offline"
    assert ran.err.splitlines()[-2:] == ["nor on 1 more: -o json names all", "dry run: nothing was created"]
    assert (fake.asked[-1][2].runner_filter, fake.asked[-1][2].placement) == ("labels.rack=3", "PACK")
    planned = json.loads(run("create", "dev1", "--dry-run", "-o", "json").out)
    assert planned["runnerVerdicts"][:2] == [
        {"runner": "runners/box1"},
        {"runner": "runners/lab0", "reason": "it is offline"},
    ]
    fake.verdicts = ()
    waiting = session("dev1", SessionState.PENDING, runner_name="", message="no runner is online")
    monkeypatch.setattr(fake, "create_session", lambda *_, **__: waiting)
    assert run("create", "dev1", "--dry-run").out == (
        "would create session dev1 from debian:12 (no limits) once a runner takes it: no runner is online\n"
    )


@pytest.mark.usefixtures("key")
def test_an_image_that_is_not_found_is_compared_with_those_of_other_sessions(run: Run, fake: FakeClient) -> None:
    fake.sessions = {"web": session("web", spec=SessionSpec(image="debian:12"))}
    failed = session("dev1", SessionState.FAILED, reason="image", message="there is no image debain:12",
                     spec=SessionSpec(image="debain:12"))  # fmt: skip
    fake.script = [put(failed, 2)]
    ran = run("create", "dev1", "--image", "debain:12")
    assert ran.code == exit_codes.NOT_FOUND
    assert ran.err.endswith("; did you mean debian:12?\n")


@pytest.mark.usefixtures("key")
def test_the_owner_may_be_part_of_the_name(run: Run, fake: FakeClient) -> None:
    assert run("create", "sessions/dev1.bob", "--no-wait").out == "dev1.alice\n"
    assert fake.asked[-1][1::2] == ("dev1", "bob")
    refused = run("create", "dev1.bob", "--owner", "eve")
    assert refused.code == exit_codes.USAGE
    assert "NAME says owner bob, and --owner says eve" in refused.err


@pytest.mark.usefixtures("key")
def test_for_another_owner_the_full_name_is_shown_and_no_own_key_is_registered(run: Run, fake: FakeClient) -> None:
    ran = run("create", "dev1", "--owner", "alice", "--no-wait")
    assert ran.out == "dev1.alice\n"
    assert not [asked for asked in fake.asked if asked[0].endswith("ssh_keys")]


def test_what_the_server_writes_is_cleaned(run: Run, fake: FakeClient) -> None:
    fake.create_ssh_key(ed25519(1))
    evil = replace(session("dev1", SessionState.FAILED), message="\x1b]0;pwned\x07pull failed")
    fake.script = [put(evil, 2)]
    assert "\x1b" not in run("create", "dev1").err
