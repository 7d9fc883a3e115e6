"""What refusals write: the first of each source, then numbers."""

from __future__ import annotations

from netvps.domain.access.refusal_log import LINES, SOURCES, RefusalLog, Refusals


def test_the_first_of_a_source_is_written_and_the_rest_counted() -> None:
    log = RefusalLog()
    assert [log.note("a"), log.note("a"), log.note("b"), log.note("a")] == [True, False, True, False]
    assert log.summary() == [Refusals("a", 2)]
    assert log.summary() == []
    assert log.note("a")


def test_an_interval_has_a_bounded_number_of_lines() -> None:
    log = RefusalLog()
    written = sum(log.note(str(number)) for number in range(SOURCES * 2) for _ in range(2))
    assert written == LINES
    lines = log.summary()
    assert len(lines) == LINES + 1
    assert written + sum(line.count for line in lines) == SOURCES * 4
    assert lines[-1].source == ""
