from __future__ import annotations

import json
from pathlib import Path

import pytest

from netvps.cli.machine.runner_only import sentence, server_of
from netvps.errors import Unavailable
from netvps.rpc.client.client import Endpoint
from netvps.rpc.client.failures import no_server


@pytest.fixture
def runner(home: Path) -> Path:
    """The state folder of a runner of gw.example."""
    (home / "state/runner").mkdir(parents=True)
    (home / "state/runner/identity").write_text(json.dumps({"link": "gw.example:7444"}))
    return home / "state"


@pytest.mark.usefixtures("runner")
def test_a_runner_is_not_advised_to_start_a_server() -> None:
    shown = sentence(no_server(Endpoint("unix:/run/netvps/api.sock")))
    assert "`netvps login gw.example`" in shown
    assert "netvps up" not in shown


@pytest.mark.usefixtures("runner")
def test_other_errors_stay_as_they_are() -> None:
    elsewhere = no_server(Endpoint("gw.example:7443", "CA"))
    assert sentence(elsewhere) == str(elsewhere)
    assert sentence(Unavailable("busy: try again")) == "busy: try again"


def test_a_machine_with_a_server_of_its_own_is_advised_to_start_it(runner: Path) -> None:
    (runner / "netvps.db").touch()
    assert "netvps up" in sentence(no_server(Endpoint("unix:/run/netvps/api.sock")))


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_identity_names_no_server(runner: Path, content: str) -> None:
    (runner / "runner/identity").write_text(content)
    assert server_of(runner) == ""
