"""Walks all fault points: several systems side by side, each with one case after the other.

A case mostly waits: for a process to start again, for a connection to be tried again. So a machine of two cores bears
some systems at once. A system lives through all its cases, as a real one would; one that failed is thrown away, so that
the next case does not fail for what the last one left.
"""

from __future__ import annotations

import os
import random
import threading
import time
import traceback
from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from netvps.faults import MODES
from tests.e2e.kills.ground import DATABASES
from tests.e2e.kills.stories import PASSES, Stories

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.e2e.kills.ground import Ground
    from tests.e2e.kills.registry import Registry

SYSTEMS = 3
"""On each database, at once."""


@dataclass(frozen=True)
class Case:
    """One fault in one operation on one database."""

    database: str
    operation: str
    point: str
    mode: str

    def __str__(self) -> str:
        return f"{self.database}-{self.operation}-{self.point}-{self.mode}"


CASES = [
    Case(database, operation, point, mode)
    for database in DATABASES
    for operation, points in PASSES.items()
    for point in points
    for mode in MODES
]


def chosen(day: date) -> list[Case]:
    """Every third point, the others on the next two days; each with a mode and on a database that the day decides."""
    by_point: dict[tuple[str, str], list[Case]] = {}
    for case in CASES:
        by_point.setdefault((case.operation, case.point), []).append(case)
    chance = random.Random(day.toordinal())  # not for secrets
    return [chance.choice(cases) for cases in list(by_point.values())[day.toordinal() % 3 :: 3]]


TODAY = CASES if os.environ.get("NETVPS_FULL") else chosen(datetime.now(UTC).date())
"""What a run of the tests walks: everything with NETVPS_FULL=1."""


class CaseFailed(AssertionError):
    """A case, what is wrong, and what was said before."""


class Walk:
    """Runs cases; `result` waits for one of them."""

    def __init__(self, cases: Iterable[Case], ground: Ground, registry: Registry) -> None:
        self._ground = ground
        self._registry = registry
        self._results: dict[Case, Future[float]] = {case: Future() for case in cases}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the systems, no more than there are cases."""
        for database in DATABASES:
            mine = deque(sorted((case for case in self._results if case.database == database), key=_order))
            for number in range(min(SYSTEMS, len(mine))):
                thread = threading.Thread(target=self._lane, args=(database, mine), name=f"{database} {number}")
                self._threads.append(thread)
                thread.start()

    def result(self, case: Case) -> float:
        """The seconds that a case took. Raises CaseFailed."""
        result = self._results[case]
        while not result.done():
            wait([result], timeout=1)
            if not result.done() and not any(thread.is_alive() for thread in self._threads):
                raise CaseFailed(f"{case} was not reached: no system is left to walk on")
        return result.result()

    def stop(self) -> None:
        """Ends all systems, after the case in which each is."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _lane(self, database: str, cases: deque[Case]) -> None:
        stories: Stories | None = None
        try:
            while cases and not self._stop.is_set():
                case = cases.popleft()
                result = self._results[case]
                try:
                    if stories is None:
                        stories = Stories(self._ground.new_system(database), self._ground.image, self._registry)
                    result.set_result(_judged(stories, case))
                except BaseException as error:
                    result.set_exception(_failed(case, error, stories, self._ground.logs))
                    _end(stories)
                    stories = None
        except IndexError:
            pass  # another lane took the last
        finally:
            _end(stories)


def _order(case: Case) -> tuple[int, str, str]:
    """One of each operation in turn, so that sessions come and go."""
    points = PASSES[case.operation]
    return (points.index(case.point) * len(MODES) + MODES.index(case.mode), case.operation, case.point)


def _judged(stories: Stories, case: Case) -> float:
    began = time.monotonic()
    getattr(stories, case.operation)(case.point, case.mode)
    stories.system.until_right()
    return time.monotonic() - began


def _failed(case: Case, error: BaseException, stories: Stories | None, logs: Path) -> CaseFailed:
    where = "".join(traceback.format_exception(error)[-4:])
    said = stories.system.story(logs / f"{case}.log") if stories else "no system came up"
    return CaseFailed(f"{case}\n{where}\n{said}")


def _end(stories: Stories | None) -> None:
    if stories is not None:
        stories.system.disarm()
        stories.system.destroy()
