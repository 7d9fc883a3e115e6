"""Whatever dies, fails or hangs at whatever point: all ends as its owner asked, once, and nothing is left behind."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from netvps.faults import POINTS
from tests.e2e.kills.faulty import Faulty, own_request_ids
from tests.e2e.kills.ground import POSTGRESQL
from tests.e2e.kills.registry import running_registry
from tests.e2e.kills.stories import PASSES, Stories
from tests.e2e.kills.walk import CASES, TODAY, Case, Walk, chosen
from tests.e2e.overlay import test_moves
from tests.runner.session import test_kept
from tests.runner.session import test_reconciler as test_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.kills.ground import Ground

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

WALKED_ELSEWHERE = (
    dict.fromkeys(
        # Docker calls a container so for milliseconds, and it cannot be made to.
        ("step.wait.before", "step.wait.after"),
        test_worker.test_a_fault_while_the_engine_is_busy_is_only_a_round_more,
    )
    | dict.fromkeys(
        # Only of a container whose removal failed in Docker.
        ("step.remove.before", "step.remove.after"),
        test_kept.test_a_container_that_cannot_be_started_is_made_again_from_what_was_kept,
    )
    | dict.fromkeys(
        # They need several runners.
        test_moves.RECEIVER_POINTS,
        test_moves.test_a_receiver_that_dies_ends_with_a_whole_copy,
    )
    | dict.fromkeys(
        test_moves.SERVER_POINTS,
        test_moves.test_a_server_that_dies_at_every_step_moves_it_once,
    )
)


def test_every_point_is_walked_somewhere() -> None:
    walked = {point for points in PASSES.values() for point in points}
    assert walked | set(WALKED_ELSEWHERE) == set(POINTS)
    assert not walked & set(WALKED_ELSEWHERE)
    assert all(callable(getattr(Stories, operation)) for operation in PASSES)


def test_three_days_walk_every_point_and_a_year_all_cases() -> None:
    days = [chosen(date.fromordinal(number)) for number in range(740_000, 740_365)]
    points = {(case.operation, case.point) for case in CASES}
    for first, second, third in zip(days, days[1:], days[2:], strict=False):
        assert {(case.operation, case.point) for case in first + second + third} == points
    assert {case for cases in days for case in cases} == set(CASES)


@pytest.fixture(scope="module")
def walk(request: pytest.FixtureRequest, ground: Ground) -> Iterator[Walk]:
    """All cases that were selected, on their way."""
    selected = {item.nodeid.rpartition("[")[2] for item in request.session.items}
    with own_request_ids(), running_registry() as registry:
        made = Walk([case for case in TODAY if f"{case}]" in selected], ground, registry)
        made.start()
        try:
            yield made
        finally:
            made.stop()


PARAMETERS = [
    pytest.param(case, id=str(case), marks=[pytest.mark.postgres] if case.database == POSTGRESQL else [])
    for case in TODAY
]


@pytest.mark.parametrize("case", PARAMETERS)
def test_all_ends_as_asked(walk: Walk, case: Case, request: pytest.FixtureRequest) -> None:
    request.node.user_properties.append(("seconds", walk.result(case)))


@pytest.mark.parametrize("point", ["join.token.after_commit", "join.signed", "identity.before_save"])
def test_a_first_start_in_which_a_program_dies_is_a_start(ground: Ground, point: str) -> None:
    """The points of a join are walked by another machine's; this is `netvps up` by itself."""
    system = Faulty("", ground.agents)
    try:
        system.arm(point)
        system.up()
        assert system.victim(point) != 0
        assert len(system.answered(lambda client: list(client.list_runners()))) == 1
        system.until_right()
    finally:
        system.destroy()
