"""A server on a machine without sessions: `netvps runner --no-sessions` joins it to the overlay, without Docker."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.overlay.overlay_lab import Host, Lab, Session, wait
from tests.e2e.overlay.test_gateway import goes_over_the_overlay, way_of

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
_ALONE = ("--no-sessions", "--docker-host", "unix:///nowhere")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(2) as made:
        made.hosts[1].start_runner()
        key = made.folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
        made.netvps("key", "add", f"{key}.pub")
        made.hosts[0].start_runner(*_ALONE)
        yield made


@pytest.fixture(scope="module")
def session(lab: Lab) -> Session:
    return lab.create("one", lab.hosts[1])


def member(lab: Lab) -> dict[str, Any]:
    """The runner without sessions, by `runner show`."""
    found: dict[str, Any] = json.loads(lab.netvps("runner", "show", "box1", "-o", "json"))
    return found


def objects(host: Host) -> str:
    """All objects of the overlay on a machine."""
    tables = host.namespace.run("nft", "list", "tables")
    rules = host.namespace.run("iptables", "-S")
    routes = host.namespace.run("ip", "route", "show", "table", "all", "proto", "201")
    links = host.namespace.run("ip", "-br", "link")
    return "\n".join(line for text in (tables, rules, routes, links) for line in text.splitlines() if _of_netvps(line))


def _of_netvps(line: str) -> bool:
    return "netvps" in line or "NETVPS" in line or "proto 201" in line or line.startswith(("nv0", "nvbr0", "unreach"))


def bridged(host: Host) -> bool:
    """Whether a machine has the bridge of sessions."""
    return "nvbr0" in host.namespace.run("ip", "-br", "link")


def test_the_gateway_reaches_sessions_over_the_overlay(lab: Lab, session: Session) -> None:
    goes_over_the_overlay(lab, session)
    shown = member(lab)
    assert (shown["state"], shown["noSessions"]) == ("RUNNER_STATE_ONLINE", True)
    assert "none: no sessions here" in lab.netvps("runner", "ls")
    assert not bridged(lab.hosts[0])
    assert lab.netvps("network", "peers", "box1").count(" ms") == 2  # it measures, and is measured


def test_sessions_are_scheduled_elsewhere(lab: Lab, session: Session) -> None:
    with lab.client() as client:
        runners = {one.runner_name for one in client.list_sessions()}
    assert runners == {"box2"}
    assert session.host is lab.hosts[1]


def test_also_while_the_runner_of_the_session_is_down(lab: Lab, session: Session) -> None:
    session.host.stop_runner(signal.SIGKILL)
    try:
        assert way_of(lab, session) == "overlay"
    finally:
        session.host.start_runner()


def test_also_while_its_own_runner_is_down_and_with_the_same_subnet_after(lab: Lab, session: Session) -> None:
    first, before = lab.hosts[0], member(lab)
    first.stop_runner()
    goes_over_the_overlay(lab, session)
    first.start_runner(*_ALONE)
    goes_over_the_overlay(lab, session)
    after = member(lab)
    assert (before["uid"], before["subnet"]) == (after["uid"], after["subnet"])


def test_a_runner_with_sessions_is_not_started_without(lab: Lab) -> None:
    first = lab.hosts[0]
    first.stop_runner()
    first.start_runner()
    wait(lambda: bridged(first), "the runner has the bridge of sessions", 20)
    assert "noSessions" not in member(lab)
    here = lab.create("two", first)
    first.stop_runner()
    with pytest.raises(AssertionError, match="this runner has 1 sessions: start it without --no-sessions"):
        first.start_runner(*_ALONE)
    first.start_runner()
    lab.netvps("rm", here.name, "--yes")
    first.stop_runner()
    first.start_runner(*_ALONE)
    wait(lambda: not bridged(first), "the bridge is removed", 20)


def test_a_purge_leaves_nothing_and_needs_no_engine(lab: Lab) -> None:
    first = lab.hosts[0]
    first.stop_runner()
    assert "nv0" in objects(first)
    first.netvps("network", "purge", "--docker-host", "unix:///nowhere")
    assert objects(first) == ""
