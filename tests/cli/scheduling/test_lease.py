"""`netvps lease`, and NETVPS_LEASE."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from netvps import exit_codes
from netvps.display.units import moment_words
from netvps.domain.scheduling.lease import SessionLease
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient, session


def test_acquire_prints_the_epoch_alone(run: Run, fake: FakeClient) -> None:
    ran = run("lease", "acquire", "dev1", "--holder", "nightly", "--ttl", "10m")
    assert (ran.code, ran.out) == (0, "42\n")
    end = moment_words(NOW + timedelta(minutes=10))
    assert ran.err == f"session dev1.alice is leased by nightly (user alice, epoch 42) until {end}\n"
    assert fake.asked == [("acquire_lease", "dev1", "nightly", 600.0, 0, False)]
    assert json.loads(run("lease", "acquire", "dev1", "--holder", "x", "-o", "json").out)["epoch"] == "42"


def test_renew_and_release(run: Run, fake: FakeClient) -> None:
    run("lease", "acquire", "dev1", "--holder", "nightly")
    assert run("lease", "renew", "dev1", "42").out == "42\n"
    assert fake.asked[-1] == ("acquire_lease", "dev1", "nightly", 300.0, 42, False)
    assert run("lease", "release", "dev1", "42").out == "dev1.alice\n"
    assert run("lease", "release", "dev1", "--force").code == 0
    assert fake.asked[-2:] == [("release_lease", "dev1", 42, False), ("release_lease", "dev1", 0, True)]
    for words in (["dev1"], ["dev1", "42", "--force"]):
        assert run("lease", "release", *words).code == exit_codes.USAGE


def test_commands_carry_the_lease_of_the_environment(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.sessions = {"dev1": session()}
    monkeypatch.setenv("NETVPS_LEASE", "42")
    run("stop", "dev1", "--no-wait")
    assert fake.asked == [("with_lease", 42), ("stop_session", "dev1")]
    monkeypatch.setenv("NETVPS_LEASE", "mine")
    assert run("stop", "dev1", "--no-wait").code == exit_codes.CONFIGURATION


def test_show_says_who_holds_it(run: Run, fake: FakeClient) -> None:
    fake.sessions = {"dev1": session()}
    assert "leased" not in run("show", "dev1").out
    fake.lease = SessionLease("", "queue", "bob", 7, NOW, NOW + timedelta(minutes=1))
    assert "by queue (user bob, epoch 7) until" in run("show", "dev1").out
