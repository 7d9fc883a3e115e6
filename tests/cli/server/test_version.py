"""`netvps version`."""

from __future__ import annotations

from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_both_versions(run: Run, fake: FakeClient) -> None:
    assert run("version").out == "netvps 0.1.0\nserver 0.1.0\n"
    fake.errors["server_info"] = Unavailable("nobody answers")
    ran = run("version")
    assert (ran.code, ran.out, ran.err) == (0, "netvps 0.1.0\n", "server: nobody answers\n")
