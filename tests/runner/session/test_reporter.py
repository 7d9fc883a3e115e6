"""What is said of a session, and how often."""

from __future__ import annotations

import pytest

from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.runner.session.reporter import Reporter

WANT = Assignment("u", "dev1", "ann", 1, 1, DesiredState.RUNNING, SessionSpec(image="x"), None, 1)


def test_progress_goes_with_what_was_said_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, posted = 100.0, list[SessionReport]()
    monkeypatch.setattr("netvps.runner.session.reporter.time.monotonic", lambda: now)
    said = Reporter(posted.append)
    said.progress("nothing was said yet")
    said.report(WANT, SessionState.PREPARING, message="pulling x")
    for megabytes in range(1000):
        said.progress(f"{megabytes} MB")
        now += 0.01
    assert [report.progress for report in posted] == ["", *(f"{100 * second} MB" for second in range(10))]
    assert {(report.state, report.message) for report in posted} == {(SessionState.PREPARING, "pulling x")}
    said.remark("the network is slow")
    assert (posted[-1].message, posted[-1].progress) == ("the network is slow", "")
