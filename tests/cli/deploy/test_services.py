"""`netvps deploy ls`, `status`, `logs`, `restart` and `rm`."""

from __future__ import annotations

import json

import pytest

from netvps import exit_codes
from netvps.cli.server import connect
from netvps.domain.deployment.service import Deployment, Service
from netvps.errors import NotFound
from tests.cli.conftest import Run
from tests.cli.deploy.fake_services import FakeServices
from tests.cli.fake_client import session

SHOP = Deployment("shop", (Service("web", "nginx:1", port=80), Service("queue", "redis:8")))


pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServices:
    made = FakeServices(log=[b"started\n"])
    for service in SHOP.services:
        made.create_session(SHOP.session_name(service.name), SHOP.spec_of(service))
    made._stored(session("dev1"))
    made.asked.clear()
    monkeypatch.setattr(connect, "dial", lambda _context: made)
    return made


def test_deployments_are_listed_with_their_services(run: Run) -> None:
    assert run("deploy", "ls").out.splitlines() == [
        "DEPLOYMENT  SERVICES   STATE", "shop        web queue  RUNNING",
    ]  # fmt: skip
    assert run("deploy", "list", "-o", "name").out == "shop\n"


def test_status_says_state_and_url_of_each(run: Run) -> None:
    found = {one["service"]: one for one in json.loads(run("deploy", "status", "shop", "-o", "json").out)}
    assert (found["web"]["state"], found["web"]["urls"]) == ("RUNNING", ["http://80--shop-web.localhost:7481/"])
    assert found["queue"]["urls"] == []


def test_logs_are_of_one_service(run: Run) -> None:
    assert run("deploy", "logs", "shop", "web").out == "started\n"
    assert run("deploy", "logs", "shop").err.startswith(
        "netvps: deployment shop has several services (web, queue): name"
    )


def test_restart_and_rm_are_of_its_sessions(server: FakeServices, run: Run) -> None:
    assert run("deploy", "restart", "shop", "web").code == 0
    assert [call[1] for call in server.called("stop_session")] == ["shop-web"]
    assert run("deploy", "rm", "shop").code == exit_codes.USAGE
    assert run("deploy", "delete", "shop", "--yes").code == 0
    assert [*server.sessions] == ["dev1"]


@pytest.mark.parametrize("command", ["status", "logs", "restart", "rm"])
def test_what_does_not_exist_says_what_does(run: Run, command: str) -> None:
    unknown = run("deploy", command, "shpo")
    assert unknown.code == exit_codes.of(NotFound(""))
    assert "you have no deployment shpo: see netvps deploy ls; did you mean shop?" in unknown.err
    assert run("deploy", command, 'a"b').code == exit_codes.USAGE


def test_a_service_that_does_not_exist(run: Run) -> None:
    assert "deployment shop has no service wbe: it has queue, web" in run("deploy", "logs", "shop", "wbe").err
