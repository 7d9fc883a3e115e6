"""Bounds of the log: no value is long or steers a terminal, and no identity takes more than its share."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from netvps.log_bounds import MAX_EXCEPTION, MAX_VALUE, VolumeLimit, bound_event


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def bounded(**event: Any) -> dict[str, Any]:
    return dict(bound_event(None, "info", event))


def passed(limit: VolumeLimit, count: int, **event: Any) -> list[dict[str, Any]]:
    """The lines that come out when one line is logged so often."""
    lines = []
    for _ in range(count):
        try:
            lines.append(dict(limit(None, "info", dict(event))))
        except structlog.DropEvent:
            continue
    return lines


@pytest.mark.parametrize("value", ["x" * 3_000_000, b"x" * 3_000_000, ["x" * 3_000_000], {"a": {"b": "x" * 3_000_000}}])
def test_a_long_value_is_cut_and_says_so(value: Any) -> None:
    text = str(bounded(reason=value)["reason"])
    assert len(text) < MAX_VALUE + 100
    assert "characters)" in text


def test_short_values_stay_what_they_are() -> None:
    event = {"event": "joined", "n": 3, "ok": True, "rtt": 0.5, "none": None, "names": ["a", "b"], "by": {"a": 1}}
    assert bounded(**event) == event


def test_what_steers_a_terminal_is_escaped() -> None:
    event = bounded(reason="a\x1b[2Jb\nc\u202ed", event="x\r")
    assert event == {"reason": r"a\x1b[2Jb\nc\u202ed", "event": r"x\r"}


def test_a_traceback_keeps_its_lines_and_its_end() -> None:
    text = bounded(exception="Traceback\n" + "x\n" * 100_000 + "ValueError: \x1b no")["exception"]
    assert text.startswith("Traceback\nx\n")
    assert text.endswith(r"ValueError: \x1b no")
    assert len(text) < MAX_EXCEPTION + 100


def test_a_flood_of_one_session_is_cut_short_and_announced_once() -> None:
    clock = Clock()
    limit = VolumeLimit(clock)
    lines = passed(limit, 10_000, event="unexpected stream of an agent", session="s1", program="server")
    assert 300 < len(lines) < 1000
    assert lines[-1] == {
        "event": "log budget exceeded: some lines are dropped",
        "session": "s1",
        "program": "server",
    }
    assert passed(limit, 1, event="agent connected", session="s2") == [{"event": "agent connected", "session": "s2"}]
    clock.now += 10
    (line, *_) = passed(limit, 1, event="agent connected", session="s1")
    assert line["suppressed"] > 9000


def test_an_hour_of_flood_takes_a_small_part_of_the_log() -> None:
    clock, size = Clock(), 0
    limit = VolumeLimit(clock)
    for _ in range(3600):
        clock.now += 1
        size += sum(len(str(line)) for line in passed(limit, 20, event="dial failed", session="s1", reason="x" * 2000))
    assert size < 3 << 20


def test_logins_are_reported_while_the_session_or_others_flood() -> None:
    limit = VolumeLimit(Clock())
    for number in range(100):
        passed(limit, 1000, event="call refused", caller=f"session {number}", error="x" * 1000)
    passed(limit, 10_000, event="ssh refused", origin="192.0.2.7:1")
    login = {"event": "ssh login", "session": "s1", "user": "alice", "origin": "192.0.2.1:50312"}
    assert passed(limit, 100, **login) == [login] * 100


def test_a_stranger_is_known_by_the_address_not_by_the_port() -> None:
    limit = VolumeLimit(Clock())
    lines = [
        line for port in range(10_000) for line in passed(limit, 1, event="ssh refused", origin=f"[2001:db8::1]:{port}")
    ]
    assert len(lines) < 2000
    other = {"event": "ssh refused", "origin": "[2001:db8::2]:1"}
    assert passed(limit, 1, **other) == [other]


def test_lines_of_the_program_itself_have_no_budget() -> None:
    assert len(passed(VolumeLimit(Clock()), 10_000, event="the database is away", error="x" * 1000)) == 10_000


def test_budgets_are_few_whoever_comes() -> None:
    limit = VolumeLimit(Clock())
    for number in range(10_000):
        passed(limit, 1, event="ssh refused", origin=f"user@10.{number >> 8}.{number & 255}.1:22")
    assert len(limit._budgets) == 8192
