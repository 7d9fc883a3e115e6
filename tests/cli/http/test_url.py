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


def test_a_link_has_an_end(run: Run) -> None:
    ran = run("url", "dev1", "3000", "--link", "--until", "1h")
    assert ran.out == "http://secret\n"
    assert "netvps url rm dev1 link-1" in ran.err
    for words in (("--link",), ("--until", "1h"), ("--link", "--until", "1h", "--open")):
        assert run("url", "dev1", *words).code == exit_codes.USAGE


def test_the_word_print_may_be_left_out(run: Run) -> None:
    assert run("url", "print", "dev1").out == run("url", "dev1").out
    assert run("url").code == exit_codes.USAGE
