"""`netvps runner` as a noun."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.machine.runners import runner
from netvps.domain.overlay.peer_health import Problem
from netvps.domain.runner.runner import RunnerState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient
from tests.domain.runner.test_gpu import gpu, gpu_id


@pytest.mark.usefixtures("fake")
def test_runners_are_listed_and_shown(run: Run) -> None:
    assert list(runner.commands) == [
        "run",
        "sweep",
        "drain",
        "cordon",
        "uncordon",
        "ls",
        "show",
        "label",
        "rm",
        "join-token",
    ]
    heading, box = run("runner", "ls").out.splitlines()
    assert heading.split()[:3] == ["NAME", "STATE", "SESSIONS"]
    assert box.split()[:6] == ["box1", "ONLINE", "3", "4", "8G", "50G"]
    assert "10.128.0.0/22" in run("runner", "show", "box1").out
    assert '"subnet"' in run("runner", "show", "box1", "-o", "json").out


@pytest.mark.usefixtures("fake")
def test_a_runner_says_whether_it_is_on_the_overlay(run: Run) -> None:
    heading, box = run("runner", "ls", "-o", "wide").out.splitlines()
    assert box[heading.index("OVERLAY") :].split()[0] == "yes"
    assert "192.0.2.1, 2001:db8::1 (mtu 1450)" in box
    assert box[heading.index("GATEWAY") :].split()[0] == "no"


def test_a_runner_says_why_it_has_no_overlay_in_short_and_in_full(run: Run, fake: FakeClient) -> None:
    why = "no overlay: changing the network needs CAP_NET_ADMIN: run as root, or grant it"
    fake.overlay, fake.problems = False, (Problem(why),)
    heading, box = run("runner", "ls").out.splitlines()
    assert box[heading.index("OVERLAY") :] == "no: changing the network needs CAP_NET_ADMIN"
    assert why in run("runner", "ls", "-o", "wide").out
    (shown,) = json.loads(run("runner", "ls", "-o", "json").out)
    assert shown["overlayProblems"] == [{"message": why}]
    fake.overlay, fake.problems = True, (Problem("box2 does not answer, see to it", "uid2"),)
    assert "yes, but: box2 does not answer, see to it\n" in run("runner", "ls").out


def test_a_healthy_runner_is_seen_now_and_one_without_its_engine_says_so(run: Run, fake: FakeClient) -> None:
    heading, box = run("runner", "ls").out.splitlines()
    assert box[heading.index("SEEN") :].split()[:2] == ["now", "20.10"]
    fake.engine_problem = "the Docker engine does not answer: start it (systemctl start docker)"
    heading, box = run("runner", "ls").out.splitlines()
    assert box[heading.index("ENGINE") :].startswith("down: the Docker engine does not answer")
    assert "systemctl start docker" in run("runner", "show", "box1").out
    fake.state = RunnerState.OFFLINE
    heading, box = run("runner", "ls").out.splitlines()
    assert box[heading.index("SEEN") :].split()[1] == "ago"


def test_a_runner_that_runs_no_sessions_says_so(run: Run, fake: FakeClient) -> None:
    fake.no_sessions = True
    for command in (("ls",), ("show", "box1")):
        assert "none: no sessions here" in run("runner", *command).out
    (shown,) = json.loads(run("runner", "ls", "-o", "json").out)
    assert shown["noSessions"]


def test_a_runner_shows_its_gpus_who_has_one_and_whether_it_limits_disks(run: Run, fake: FakeClient) -> None:
    assert _field(run("runner", "show", "box1").out, "gpus") == "none"
    assert _field(run("runner", "show", "box1").out, "disk limits") == "no"
    fake.capacity = {"gpus": (gpu(0), gpu(1)), "disk_limits_problem": "Docker's folder is on ext4"}
    fake.gpus_in_use = frozenset({gpu_id(1), gpu_id(2)})
    shown = run("runner", "show", "box1").out
    assert _field(shown, "disk limits") == "no: Docker's folder is on ext4"
    assert _field(shown, "gpus") == (
        f"{gpu_id(0)} (NVIDIA H200, 139G, free), {gpu_id(1)} (NVIDIA H200, 139G, in use), "
        f"{gpu_id(2)} (in use, and gone)"
    )
    heading, box = run("runner", "ls", "-o", "wide").out.splitlines()
    assert box[heading.index("GPUS") :].startswith("1 of 2 free")
    assert box[heading.index("DISK LIMITS") :].split()[0] == "no"
    (listed,) = json.loads(run("runner", "ls", "-o", "json").out)
    assert [one["uuid"] for one in listed["capacity"]["gpus"]] == [gpu_id(0), gpu_id(1)]
    fake.capacity = {"gpu_problem": "the driver does not answer", "disk_limits": True}
    fake.gpus_in_use = frozenset()
    shown = run("runner", "show", "box1").out
    assert (_field(shown, "gpus"), _field(shown, "disk limits")) == ("the driver does not answer", "yes")


def _field(shown: str, name: str) -> str:
    """The value of a field of `show`."""
    (line,) = [line for line in shown.splitlines() if line.startswith(name)]
    return line.removeprefix(name).strip()


def test_a_runner_is_removed_by_who_types_its_name(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refused = run("runner", "rm", "box1", "--force")
    assert (refused.code, fake.asked) == (exit_codes.USAGE, [])
    assert "removes that runner and all its sessions, without a way back" in refused.err
    assert run("runner", "rm", "box1", "--yes").out == "box1\n"
    assert run("runner", "rm", "box1", "--force", "-y").out == "box1\n"
    assert fake.asked == [("delete_runner", "box1", False), ("delete_runner", "box1", True)]


@pytest.mark.usefixtures("fake")
def test_a_join_token_is_written_to_a_file_that_only_its_owner_reads(run: Run, tmp_path: Path) -> None:
    token = run("runner", "join-token").out
    ran = run("runner", "join-token", "--file", str(tmp_path / "token"))
    assert (ran.code, ran.out) == (0, "")
    assert (tmp_path / "token").read_text() == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    ran = run("runner", "join-token", "--file", str(tmp_path / "none/token"))
    assert ran.code == 10
    assert "cannot be written: No such file" in ran.err


@pytest.mark.usefixtures("fake")
def test_a_join_token_is_data(run: Run) -> None:
    ran = run("runner", "join-token")
    assert ran.out == "nvj_k_s_f\n"
    assert "--join-token-file" in ran.err
    shown = json.loads(run("runner", "join-token", "-o", "json").out)
    assert shown == {"joinToken": "nvj_k_s_f", "expireTime": "2026-01-02T04:04:05+00:00"}


def test_labels_are_set_and_removed(run: Run, fake: FakeClient) -> None:
    ran = run("runner", "label", "box1", "rack=3", "old-", "os=x-")
    assert fake.asked[0] == ("label_runner", "box1", {"rack": "3", "os": "x-"}, ["old"])
    assert (ran.out, ran.err) == ("box1\n", "runner box1 has labels os=x-, rack=3\n")
    assert run("runner", "label", "box1", "old-").err == "runner box1 has no labels now\n"
    assert json.loads(run("runner", "label", "box1", "rack=3", "-o", "json").out)["labels"] == ["rack=3"]


def test_a_runner_is_cordoned(run: Run, fake: FakeClient) -> None:
    assert run("runner", "cordon", "box1").out == "box1\n"
    assert fake.asked == [("cordon_runner", "box1")]
