"""Applies against a fake server: each step, what is rolled back, and what is refused.

So it is the test of netvps.cli.deploy.apply and netvps.cli.deploy.plan, too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.server import connect
from netvps.domain.session.exec import Exit, Stderr
from netvps.domain.session.session import SessionState
from netvps.errors import Changed, NetvpsError, Unavailable, WrongState
from tests.cli.conftest import Ran, Run
from tests.cli.deploy.fake_services import FakeServices

ONE = """\
deployment: shop
services:
  web:
    image: nginx:1
    environment: {KEY: hunter2}
    port: 80
    route: {host: shop.example, public: true}
    health: {path: /ok, timeout: 5}
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServices:
    made = FakeServices(output=[Exit(0)])
    monkeypatch.setattr(connect, "dial", lambda _context: made)
    return made


@pytest.fixture
def deploy(run: Run, tmp_path: Path) -> Run:
    """Runs a command with a file."""

    def deploy(command: str, text: str, *words: str) -> Ran:
        file = tmp_path / "deployment.yaml"
        file.write_text(text)
        ran = run("deploy", command, "-f", str(file), *words)
        assert "hunter2" not in ran.out + ran.err
        return ran

    return deploy


def test_a_service_whose_names_are_too_long_for_a_host_is_applied_without(
    server: FakeServices, deploy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise WrongState("port 80 of shop-web.alice has no host")

    monkeypatch.setattr(server, "get_url", refuse)
    ran = deploy("apply", ONE)
    assert (ran.code, [*server.sessions]) == (0, ["shop-web"])
    assert "--shop-web" not in ran.out


def test_a_new_service_is_created_routed_and_healthy_before_it_is_called_so(server: FakeServices, deploy: Run) -> None:
    ran = deploy("apply", ONE)
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "web  http://80--shop-web.localhost:7481/")
    assert [call[0] for call in server.called("create_session", "put_url", "exec")] == [
        "create_session", "put_url", "exec",
    ]  # fmt: skip
    (_, start) = server.called("exec")[0]
    assert start.argv == ("/.netvps/agent", "probe", "-path", "/ok", "-timeout", "5s", "80")
    assert deploy("plan", ONE).out.startswith("= web  session shop-web stays\nrevision ")
    assert "nothing to do" in deploy("apply", ONE).err


def test_a_plan_changes_nothing_and_says_where_it_would_be(server: FakeServices, deploy: Run) -> None:
    ran = deploy("plan", ONE)
    assert ran.out.startswith("+ web  create session shop-web on runner box1\n")
    assert "route: shop.example → port 80 (public)" in ran.out
    plan = json.loads(deploy("plan", ONE, "-o", "json").out)
    assert (plan["steps"][0]["action"], plan["steps"][0]["runner"]) == ("create", "on runner box1")
    assert f"--at {plan['revision']}" in ran.err
    assert not server.sessions


def test_another_container_takes_the_place_of_the_old_one_once_it_is_healthy(server: FakeServices, deploy: Run) -> None:
    deploy("apply", ONE)
    old = server.sessions["shop-web"].uid
    server.asked.clear()
    ran = deploy("apply", ONE.replace("nginx:1", "nginx:2"), "--yes")
    assert ran.code == 0
    assert [call[0] for call in server.called("create_session", "exec", "replace_session", "put_url")] == [
        "create_session", "exec", "replace_session",
    ]  # fmt: skip
    assert server.sessions["shop-web"].uid != old
    assert [*server.sessions] == ["shop-web"]


@pytest.mark.parametrize("how", ["unhealthy", "failed", "interrupted", "foreign"])
def test_what_is_not_healthy_is_rolled_back_with_the_reason_and_its_log(
    server: FakeServices, deploy: Run, how: str
) -> None:
    deploy("apply", ONE)
    old, text, server.log = server.sessions["shop-web"], ONE.replace("nginx:1", "nginx:2"), [b"no config\nended\n"]
    match how:
        case "unhealthy":
            server.output, said = [Stderr(b"agent: GET /ok: 500"), Exit(1)], "was not healthy after 0 s: GET /ok: 500"
        case "failed":
            server.born, server.message, said = SessionState.FAILED, "no such image", "did not start: no such image"
        case "interrupted":
            server.errors["exec"], said = Unavailable("the server is away"), "the server is away"
        case _:
            text, server.foreign = text.replace("shop.example", "b.example"), frozenset({"b.example"})
            said = "another session is served at b.example"
    ran = deploy("apply", text, "--yes")
    assert ran.code != 0
    assert said in ran.err
    assert "web | ended" in ran.err
    assert "is removed, the old container stays" in ran.err
    assert {name: session.uid for name, session in server.sessions.items()} == {"shop-web": old.uid}
    assert not server.called("replace_session")


def test_a_new_service_that_never_is_healthy_leaves_nothing(server: FakeServices, deploy: Run) -> None:
    server.output = [Exit(1)]
    ran = deploy("apply", ONE)
    assert ran.code != 0
    assert not server.sessions
    assert not server.urls


def test_limits_and_routes_change_without_another_container(server: FakeServices, deploy: Run) -> None:
    deploy("apply", ONE)
    server.asked.clear()
    text = ONE.replace("host: shop.example, public", "members").replace("port: 80", "port: 81\n    memory: 1G")
    assert deploy("apply", text).code == 0
    (update,) = server.called("update_session")
    assert update[2] == ["labels", "memory_bytes"]
    assert [(named.url.id, named.url.audience) for named in server.urls] == [("81", "MEMBERS")]
    assert not server.called("create_session", "replace_session")
    assert deploy("plan", text).out.startswith("= web")


def test_what_the_file_has_no_more_is_removed_once_that_is_confirmed(server: FakeServices, deploy: Run) -> None:
    deploy("apply", ONE + "  old: {image: x}\n")
    assert deploy("apply", ONE).code == exit_codes.USAGE
    assert "shop-old" in server.sessions
    assert deploy("apply", ONE, "--yes").code == 0
    assert [*server.sessions] == ["shop-web"]


def test_a_revision_is_done_as_planned_or_refused(server: FakeServices, deploy: Run) -> None:
    deploy("apply", ONE)
    text = ONE.replace("nginx:1", "nginx:2")
    revision = json.loads(deploy("plan", text, "-o", "json").out)["revision"]
    server.urls.clear()
    refused = deploy("apply", text, "--at", revision)
    assert (refused.code, server.sessions["shop-web"].spec.image) == (exit_codes.of(Changed("")), "nginx:1")
    assert f"revision {revision} is not what an apply would do now" in refused.err
    revision = json.loads(deploy("plan", text, "-o", "json").out)["revision"]
    assert deploy("apply", text, "--at", revision).code == 0


def test_a_session_that_another_program_replaced_meanwhile_is_not_touched(
    server: FakeServices, deploy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy("apply", ONE)
    start = server.exec

    def exec_(*arguments: object) -> object:
        server.create_session("shop-web", server.sessions["shop-web"].spec)  # another uid
        return start(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "exec", exec_)
    ran = deploy("apply", ONE.replace("nginx:1", "nginx:2"), "--yes")
    assert "session shop-web changed since the plan" in ran.err
    assert not server.called("replace_session")
    assert [*server.sessions] == ["shop-web"]


def test_a_change_is_tried_again_where_the_runner_reported_meanwhile(
    server: FakeServices, deploy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy("apply", ONE)
    update, failures = server.update_session, [Changed("since revision 3"), Changed("since revision 4")]

    def update_(*arguments: object, **named: object) -> object:
        if failures:
            raise failures.pop()
        return update(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "update_session", update_)
    assert deploy("apply", ONE + "    memory: 1G\n").code == 0
    assert not failures


@pytest.mark.parametrize("error", [Unavailable("away"), KeyboardInterrupt()])
def test_an_apply_that_ends_early_leaves_no_container(
    server: FakeServices, deploy: Run, error: NetvpsError | KeyboardInterrupt
) -> None:
    server.errors["exec"] = error
    assert deploy("apply", ONE).code != 0
    assert not server.sessions
