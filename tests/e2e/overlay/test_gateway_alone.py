"""The gateway joins the overlay by itself, where no runner is on its machine; and makes way for one that comes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.overlay.overlay_lab import Host, Lab, Session, wait
from tests.e2e.overlay.test_gateway import goes_over_the_overlay, way_of

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(2, "--gateway-overlay-after", "2") as made:
        for host in made.hosts[1:]:
            host.start_runner()
        key = made.folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
        made.netvps("key", "add", f"{key}.pub")
        yield made


@pytest.fixture(scope="module")
def session(lab: Lab) -> Session:
    return lab.create("one", lab.hosts[1])


def gateways(lab: Lab) -> list[dict[str, str]]:
    """What `runner ls` has of them."""
    found = json.loads(lab.netvps("runner", "ls", "-o", "json"))
    return [one for one in found if one.get("gatewayOnly") or one.get("gateway_only")]


def objects(host: Host) -> str:
    """All there is of the overlay on a machine."""
    tables = host.namespace.run("nft", "list", "tables")
    rules = host.namespace.run("iptables", "-S")
    routes = host.namespace.run("ip", "route", "show", "table", "all", "proto", "201")
    links = host.namespace.run("ip", "-br", "link")
    return "\n".join(line for text in (tables, rules, routes, links) for line in text.splitlines() if _ours(line))


def _ours(line: str) -> bool:
    return "netvps" in line or "NETVPS" in line or "proto 201" in line or line.startswith(("nv0", "nvbr0", "unreach"))


def forwarding(host: Host) -> str:
    return host.namespace.run("sysctl", "-n", "net.ipv4.conf.nv0.forwarding").strip()


def log(lab: Lab) -> str:
    return (lab.folder / "server/log").read_text()


def test_it_joins_and_reaches_sessions_over_the_overlay(lab: Lab, session: Session) -> None:
    wait(lambda: "the gateway joins the overlay" in log(lab), "it joins", 20)
    goes_over_the_overlay(lab, session)
    (row,) = gateways(lab)
    assert row["state"] == "RUNNER_STATE_ONLINE"
    assert "nvbr0" not in lab.hosts[0].namespace.run("ip", "-br", "link")
    table = lab.netvps("runner", "ls")
    assert "gateway" in table
    assert "links" in lab.netvps("network", "check")


def test_also_while_the_sessions_runner_is_away(lab: Lab, session: Session) -> None:
    session.host.stop_runner(signal.SIGKILL)
    try:
        assert way_of(lab, session) == "overlay"
    finally:
        session.host.start_runner()


def test_it_is_the_same_after_a_restart_of_the_server(lab: Lab, session: Session) -> None:
    (before,) = gateways(lab)
    lab.stop_server(signal.SIGTERM)
    assert "nv0" in objects(lab.hosts[0])
    lab.start_server()
    goes_over_the_overlay(lab, session)
    wait(lambda: log(lab).count("the gateway joins the overlay") == 2, "it joins again", 20)
    (after,) = gateways(lab)
    assert (before["uid"], before["subnet"]) == (after["uid"], after["subnet"])


def test_a_runner_of_its_machine_takes_the_overlay_over(lab: Lab, session: Session) -> None:
    first = lab.hosts[0]
    first.start_runner()
    wait(first.settled, "the runner has the overlay", 20)
    wait(lambda: gateways(lab) == [], "the gateway has none of its own", 20)
    home = first.view_and_kernel()[0].lease.cidr.partition("/")[0]
    wait(lambda: home in session.host.namespace.run("nft", "list", "set", "inet", "netvps", "gateways"), "it is known")
    goes_over_the_overlay(lab, session)
    first.stop_runner()


def test_a_purge_leaves_nothing_and_needs_no_engine(lab: Lab, session: Session) -> None:
    first = lab.hosts[0]
    first.netvps("network", "purge", "--docker-host", first.docker_host)
    lab.netvps("runner", "rm", "box1", "--yes")
    wait(lambda: len(gateways(lab)) == 1, "the gateway joins again", 20)
    goes_over_the_overlay(lab, session)
    (row,) = gateways(lab)
    lab.netvps("runner", "rm", str(row["name"]).removeprefix("runners/"), "--yes")
    wait(lambda: "it was removed" in log(lab), "it leaves", 20)
    wait(lambda: log(lab).count("the gateway joins the overlay") == 4, "and comes again", 20)
    wait(lambda: "nv0" in objects(first), "its device is there", 20)
    lab.stop_server()
    assert "nv0" in objects(first)
    first.netvps("network", "purge", "--docker-host", "unix:///nowhere")
    assert objects(first) == ""
