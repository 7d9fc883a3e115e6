"""Quotas in `netvps user` and `netvps whoami`."""

from __future__ import annotations

import json

import pytest

from netvps import exit_codes
from netvps.errors import WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_limits_are_set_lifted_and_left_to_the_role(run: Run, fake: FakeClient) -> None:
    words = ("--max-sessions", "10", "--max-cpus", "2.5", "--max-memory", "32G", "--max-disk", "none")
    assert run("user", "set", "bob", *words, "--max-gpus", "default").out == "bob\n"
    quota = {"sessions": 10, "millicpus": 2500, "memory_bytes": 32 << 30, "disk_bytes": -1, "gpus": None}
    assert fake.asked == [("update_user", "bob", None, quota)]
    assert run("user", "set", "bob", "--max-gpus", "0").code == 0
    assert fake.asked[-1] == ("update_user", "bob", None, {"gpus": 0})


@pytest.mark.parametrize("amount", ["-1", "many", "1.5", "", "nan"])
def test_what_is_no_limit(run: Run, fake: FakeClient, amount: str) -> None:
    assert run("user", "set", "bob", "--max-sessions", amount).code == exit_codes.USAGE
    assert fake.asked == []


@pytest.mark.parametrize("words", [("user", "show", "alice"), ("whoami",)])
def test_a_quota_is_shown_with_its_use(run: Run, fake: FakeClient, words: tuple[str, ...]) -> None:
    lines = dict(line.split(maxsplit=1) for line in run(*words).out.splitlines())
    assert (lines["sessions"], lines["cpus"], lines["memory"]) == (
        "2 sessions",
        "1.5 CPUs, of 4 CPUs",
        "3 GiB of memory, of 8 GiB of memory",
    )
    quota = json.loads(run(*words, "-o", "json").out)["quotaInForce"]
    assert (quota["limits"]["cpus"], quota["use"]["cpus"]) == (4.0, 1.5)
    assert len(fake.asked) == 4


@pytest.mark.parametrize("words", [("user", "show", "alice"), ("whoami",)])
def test_a_server_without_quotas_shows_the_rest(run: Run, fake: FakeClient, words: tuple[str, ...]) -> None:
    fake.errors["get_user_quota"] = WrongState("it does not know this call", reason="OTHER_VERSION")
    ran = run(*words)
    assert ran.code == 0
    assert "alice" in ran.out
    assert "cpus" not in ran.out
    fake.errors["get_user_quota"] = WrongState("another problem")
    assert run(*words).code == exit_codes.CONFLICT
