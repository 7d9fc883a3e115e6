"""What `netvps network` says of real faults between three machines: see overlay_lab."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.overlay.overlay_lab import IMAGE, Host, Lab, wait
from tests.e2e.system import NETVPS, Account
from tests.support.namespaces import Namespace

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]


@pytest.fixture(scope="module")
def lab(three: Lab) -> Lab:
    """With a session `web` on one host, and `db` on another, of the administrator's; `own` is bob's."""
    three.netvps("user", "add", "bob")
    for name, owner in (("web", ()), ("db", ()), ("own", ("--owner", "bob"))):
        three.netvps("create", name, "--image", IMAGE, "--network", "overlay", *owner)
    return three


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Host, Host]:
    """The hosts of `web` and `db`."""
    web, db = lab.session("web").host, lab.session("db").host
    assert web is not db  # they are placed where most room is
    return web, db


def peers(lab: Lab) -> dict[tuple[str, str], dict[str, Any]]:
    """By the names of both."""
    answered = json.loads(lab.netvps("network", "peers", "-o", "json"))
    return {(path["fromRunner"].split("/")[1], path["toRunner"].split("/")[1]): path for path in answered}


def check(lab: Lab, *sessions: str) -> list[dict[str, str]]:
    """All that is not well; the exit code says whether something fails."""
    answer = subprocess.run(
        [*NETVPS, "network", "check", *sessions, "-o", "json"],
        env=lab.environment(lab.folder / "server"),
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    found: list[dict[str, str]] = json.loads(answer.stdout)
    assert answer.returncode == any(finding["verdict"] == "fail" for finding in found)
    return [finding for finding in found if finding["verdict"] != "ok"]


@contextmanager
def dropped(lab: Lab, *rules: tuple[Host, Host, str]) -> Iterator[None]:
    """The switch loses packets of the overlay between two hosts, in both directions: as in nft's rule, '' is all."""
    switch = Namespace(f"{lab.prefix}-switch")
    switch.run("nft", "add table bridge lossy; add chain bridge lossy way { type filter hook forward priority 0; }")
    for one, other, what in rules:
        ends = f"{{ {one.underlay}, {other.underlay} }}"
        switch.run("nft", f"add rule bridge lossy way ip saddr {ends} ip daddr {ends} udp dport 14789 {what} drop")
    try:
        yield
    finally:
        switch.run("nft", "delete table bridge lossy")


def name(*hosts: Host) -> str:
    return " - ".join(sorted(f"box{host.number}" for host in hosts))


@pytest.mark.usefixtures("pair")
def test_all_is_well_and_is_measured(lab: Lab) -> None:
    wait(lambda: check(lab) == [], "all links are up")
    found = peers(lab)
    assert len(found) == 6
    path = found["box1", "box2"]
    assert (path["state"], path["mtu"], path["expectedMtu"]) == ("NETWORK_LINK_STATE_UP", 1450, 1450)
    assert (path["fromAddress"], path["toAddress"]) == ("192.0.2.1", "192.0.2.2")
    assert 0 < float(path["rtt"].removesuffix("s")) < 1
    matrix = lab.netvps("network", "peers").splitlines()
    assert matrix[0].split() == ["FROM", "\\", "TO", "box1", "box2", "box3"]
    assert [line.split()[0] for line in matrix[1:]] == ["box1", "box2", "box3"]
    shown = lab.netvps("network", "show")
    assert "3 on the overlay" in shown
    assert "3 with an address" in shown
    assert "no fault found; looked at 2 sessions, 2 runners, 2 links" in lab.netvps("network", "check", "web", "db")


def test_owners_are_apart_and_only_see_their_own(lab: Lab, tmp_path: Path) -> None:
    (finding,) = check(lab, "db", "own.bob")
    assert (finding["verdict"], finding["check"]) == ("fail", "db.root - own.bob")
    assert "sessions of two owners do not reach each other" in finding["text"]
    bob = Account(tmp_path, {"NETVPS_CONFIG_DIR": str(tmp_path)})
    here = ("nsenter", f"--net=/run/netns/{lab.hosts[0].namespace.name}", *NETVPS)
    key = lab.netvps("user", "api-key", "bob")
    bob.run(*here, "login", "192.0.2.1:7443", "--yes", input=key.encode())
    refused = bob.run(*here, "network", "check", "own", "db.root", check=False)
    assert (refused.returncode, refused.stderr) == (3, b"netvps: no session db.root: see netvps ls\n")
    assert b"no fault found" in bob.run(*here, "network", "check", "own").stdout
    assert b"box3" in bob.run(*here, "network", "peers", "box3").stdout


def test_a_firewall_and_a_black_hole_are_found_and_distinguished(lab: Lab, pair: tuple[Host, Host]) -> None:
    web, db = sorted(pair, key=lambda host: host.number)
    third = next(host for host in lab.hosts if host not in pair)
    with dropped(lab, (web, db, ""), (web, third, "ip length > 1400")):
        by_subject = {finding["check"]: finding for finding in check(lab)}
        blocked, narrow = by_subject[name(web, db)], by_subject[name(web, third)]
        assert blocked["verdict"] == "fail"
        assert f"box{web.number} ({web.underlay}) and box{db.number} ({db.underlay})" in blocked["text"]
        assert "UDP port 14789" in blocked["remedy"]
        assert narrow["verdict"] == "warn"
        assert narrow["text"].startswith("packets of more than 1350 bytes get lost between box")
        assert "to 1400 (ip link set" in narrow["remedy"]
        assert name(db, third) not in by_subject
        wait(lambda: lab.netvps("runner", "ls").count("yes, but: ") >= 2, "the runners tell of it, too")
    wait(lambda: check(lab, "web", "db") == [], "well again")


def test_a_session_that_is_stopped_is_named(lab: Lab) -> None:
    lab.netvps("stop", "web")
    try:
        (finding,) = check(lab, "web", "db")
        assert (finding["verdict"], finding["check"]) == ("fail", "session web.root")
        assert finding["text"].partition(":")[0] == "it is STOPPED"  # and that its files are being copied, if they are
        assert finding["remedy"] == "netvps start web.root"
    finally:
        lab.netvps("start", "web")
