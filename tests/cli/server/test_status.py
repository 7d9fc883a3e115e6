"""`netvps status`."""

from __future__ import annotations

import json
from dataclasses import replace

from netvps.domain.session.session import SessionState
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient, session


def test_it_tells_server_runners_and_sessions(run: Run, fake: FakeClient) -> None:
    fake.sessions = {"dev1": session(), "db": session("db", SessionState.STOPPED)}
    shown = dict(line.split(maxsplit=1) for line in run("status").out.splitlines())
    assert shown["user"] == "alice (admin)"
    assert shown["runners"] == "1 ONLINE"
    assert shown["sessions"] == "1 RUNNING, 1 STOPPED"
    assert "problems" not in shown
    found = json.loads(run("status", "-o", "json").out)
    assert (found["serverVersion"], found["sessions"]) == ("0.1.0", {"RUNNING": 1, "STOPPED": 1})


def test_it_tells_a_runner_whose_engine_is_down_and_another_version(run: Run, fake: FakeClient) -> None:
    fake.engine_problem = "the Docker engine does not answer: start it (systemctl start docker)"
    fake.info = replace(INFO, version="9.9.0")
    ran = run("status")
    assert "box1: the Docker engine does not answer" in ran.out
    assert "update this program" in ran.err
