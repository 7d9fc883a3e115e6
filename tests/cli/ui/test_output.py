"""What is printed: sizes, times, YAML, colour, progress."""

from __future__ import annotations

import sys
from datetime import timedelta

import click
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from netvps.cli.ui import terminal
from netvps.cli.ui.output import yaml_text
from netvps.cli.ui.parse import DURATION, SIZE
from netvps.display.units import age, duration_words, size_words
from tests.cli.fake_client import NOW


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("2G", 2 << 30), ("1.5g", 3 << 29), ("6MiB", 6 << 20), ("1kb", 1024)]
)
def test_sizes(text: str, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "2X", "1e9", "two"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90", 90), ("10m", 600), ("1h30m", 5400), ("0.5", 0.5), ("1m5s", 65), ("90d", 7_776_000)],
)
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "1w", "10 m"])
def test_no_durations(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


def test_words_for_people() -> None:
    assert [size_words(n) for n in (0, 1023, 1536, 3 << 30, 5 << 40)] == ["0", "1023", "1.5K", "3G", "5T"]
    assert [duration_words(n) for n in (0.2, 30, 90, 3600)] == ["0.2s", "30s", "1m30s", "1h"]
    assert [age(NOW - timedelta(seconds=n), NOW) for n in (-5, 5, 65, 7200, 200_000)] == ["0s", "5s", "1m", "2h", "2d"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@example("\U000e0001 \x85\u2028\ufeff")
def test_yaml_reads_back_and_steers_no_terminal(value: object) -> None:
    text = yaml_text(value)
    assert yaml.safe_load(text) == value
    assert all(character.isprintable() or character == "\n" for character in text)


def test_yaml_is_quoted_where_it_could_be_misread() -> None:
    value = {"a": "plain", "b": "yes", "c": {"d": ["x y", 1, {"e": None, "f": True}], "g": {}}, "h": "1", "i": "\u202e"}
    expected = """\
a: plain
b: 'yes'
c:
  d:
  - x y
  - 1
  - e: null
    f: true
  g: {}
h: '1'
i: "\\U0000202e"
"""
    assert yaml_text(value) + "\n" == expected


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert terminal.paint("RUNNING", "green", sys.stdout) == "RUNNING"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.paint("RUNNING", "green", sys.stdout) == "\x1b[32mRUNNING\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.paint("RUNNING", "green", sys.stdout) == "RUNNING"
