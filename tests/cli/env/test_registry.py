"""`netvps registry` against a fake server."""

from __future__ import annotations

import io
import json
import sys

import pytest

from netvps import exit_codes
from netvps.domain.image.login import RegistryLogin
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient


def test_a_password_comes_from_a_pipe_and_is_printed_nowhere(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    ran = run("registry", "login", "Registry.example:5000", "--username", "ci")
    assert ran.out == "registry.example:5000\n"
    assert "hunter2" not in ran.err
    assert fake.asked[-1] == ("update_registry_login", "registry.example:5000", "ci", "hunter2")


def test_a_password_comes_from_a_prompt(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda _text, **how: "hunter2" if how["hide_input"] else "")
    run("registry", "login", "registry.example", "-u", "ci")
    assert fake.asked[-1][3] == "hunter2"


def test_what_is_missing_is_named_before_anything_is_sent(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "there is no password" in run("registry", "login", "registry.example", "-u", "ci").err
    ran = run("registry", "login", "https://registry.example", "-u", "ci")
    assert (ran.code, "without a scheme" in ran.err) == (exit_codes.USAGE, True)
    assert fake.asked == []


def test_logins_are_listed_and_removed(run: Run, fake: FakeClient) -> None:
    assert "netvps registry login HOST" in run("registry", "ls").err
    fake.logins = [RegistryLogin("registry.example", "ci", "", NOW, NOW, 3)]
    heading, row = run("registry", "ls").out.splitlines()
    assert (heading.split(), row.split()[:2]) == (["HOST", "USER", "CHANGED"], ["registry.example", "ci"])
    (shown,) = json.loads(run("registry", "ls", "-o", "json").out)
    assert (shown["name"], "password" in shown) == ("registryLogins/registry.example", False)
    assert run("registry", "logout", "registry.example").out == "registry.example\n"
    assert fake.asked[-1] == ("delete_registry_login", "registry.example")
