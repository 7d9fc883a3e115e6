"""`netvps url`."""

from __future__ import annotations

import webbrowser

import pytest

from netvps import exit_codes
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("fake")


def test_url_prints_it(run: Run) -> None:
    assert run("url", "dev1", "3000").out == "http://3000--dev1.localhost:7481/\n"
    assert run("url", "dev1").out == "http://dev1.localhost:7481/\n"
    assert run("url", "dev1", "--login").out == "http://dev1.localhost:7481/.netvps/enter?code=secret\n"
    assert run("url", "dev1", "0").code == exit_codes.USAGE


def test_open_shows_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", open_)
    ran = run("url", "dev1", "--open")
    assert opened == ["http://dev1.localhost:7481/.netvps/enter?code=secret"]
    assert "secret" not in ran.out + ran.err
    monkeypatch.setattr(webbrowser, "open", lambda _url: False)
    assert "no browser" in run("url", "dev1", "--open").err
