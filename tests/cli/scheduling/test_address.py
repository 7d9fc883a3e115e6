"""`netvps network reserve`, and `create --address-reservation`."""

from __future__ import annotations

import json

from netvps import exit_codes
from netvps.cli.access.ssh_files import SshFiles
from netvps.domain.session.spec import SessionSpec
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_reserve_prints_the_token_alone(run: Run, fake: FakeClient) -> None:
    ran = run("network", "reserve", "box1", "--ttl", "5m")
    assert (ran.code, ran.out) == (0, "token\n")
    assert ran.err.startswith("address 10.128.0.7 on box1 is reserved until ")
    assert fake.asked == [("reserve_address", "box1", 300.0)]
    assert json.loads(run("network", "reserve", "box1", "-o", "json").out)["address"] == "10.128.0.7"


def test_create_gives_the_token_of_one_session(run: Run, fake: FakeClient) -> None:
    SshFiles().remove()
    run("create", "dev1", "--no-wait", "--address-reservation", "token")
    assert fake.asked[0] == ("create_session", "dev1", SessionSpec(), "", False, "token")
    assert run("create", "a", "b", "--address-reservation", "token").code == exit_codes.USAGE
