"""`netvps runner` as a noun."""

from __future__ import annotations

import pytest

from netvps.cli.runners import runner
from tests.cli.conftest import Run


@pytest.mark.usefixtures("fake")
def test_runners_are_listed_and_shown(run: Run) -> None:
    assert list(runner.commands) == ["run", "sweep", "ls", "show", "join-token"]
    heading, box = run("runner", "ls").out.splitlines()
    assert heading.split()[:3] == ["NAME", "STATE", "SESSIONS"]
    assert box.split()[:6] == ["box1", "ONLINE", "3", "4", "8G", "50G"]
    assert "10.128.0.0/22" in run("runner", "show", "box1").out
    assert '"subnet"' in run("runner", "show", "box1", "-o", "json").out


@pytest.mark.usefixtures("fake")
def test_a_join_token_is_data(run: Run) -> None:
    ran = run("runner", "join-token")
    assert ran.out == "nvj_k_s_f\n"
    assert "--join-token-file" in ran.err
