"""By machines whose cards are right, wrong, or on the other end: tests/adapters/probe/test_tcp.py has real ones."""

from __future__ import annotations

import pytest

from netvps.domain.overlay.peer_health import Target, TcpOutcome
from netvps.runner.overlay.self_test import PATIENCE, SelfTest, broken

GOOD, BROKEN, SILENT, ABSENT = TcpOutcome.GOOD, TcpOutcome.BROKEN, TcpOutcome.SILENT, TcpOutcome.ABSENT


class Machine:
    """TCP works if both cards are right, or not used for checksums."""

    def __init__(self, *, wrong: bool = False, bad: TcpOutcome = BROKEN) -> None:
        self.wrong, self.bad, self.offload = wrong, bad, True
        self.other_works = True
        self.history: list[bool] = []
        self.test = SelfTest(self.put)

    async def put(self, offload: bool) -> None:
        self.offload = offload
        self.history.append(offload)

    async def exchange(self) -> TcpOutcome:
        return GOOD if self.other_works and not (self.wrong and self.offload) else self.bad

    async def run(self) -> TcpOutcome:
        return await self.test.run(self.exchange, offload=self.offload)


async def test_a_card_that_is_right_is_left_alone() -> None:
    machine = Machine()
    assert (await machine.run(), machine.history) == (GOOD, [])


@pytest.mark.parametrize("bad", [BROKEN, SILENT])
async def test_a_card_that_is_wrong_is_found_and_stays_so(bad: TcpOutcome) -> None:
    machine = Machine(wrong=True, bad=bad)
    assert (await machine.run(), machine.history) == (GOOD, [False])
    assert (await machine.run(), machine.history) == (GOOD, [False])


async def test_one_that_answers_not_yet_says_nothing() -> None:
    machine = Machine(bad=ABSENT)
    machine.other_works = False
    assert (await machine.run(), machine.history, machine.test.failures) == (ABSENT, [], 0)


async def test_no_answer_changes_nothing_at_first() -> None:
    machine = Machine(bad=SILENT)
    machine.other_works = False
    assert (await machine.run(), machine.history) == (SILENT, [False, True])  # for the trial alone
    machine.other_works = True
    assert (await machine.run(), machine.history, machine.test.failures) == (GOOD, [False, True], 0)


async def test_if_both_spoil_the_first_packet_both_find_out() -> None:
    one, two = Machine(wrong=True, bad=SILENT), Machine(wrong=True, bad=SILENT)
    one.other_works = two.other_works = False
    assert (await one.run(), await two.run(), one.offload, two.offload) == (SILENT, SILENT, True, True)
    assert (await one.run(), one.offload) == (SILENT, False)
    two.other_works = not one.offload
    assert (await two.run(), two.offload) == (GOOD, False)
    one.other_works = not two.offload
    assert (await one.run(), one.offload) == (GOOD, False)


async def test_if_both_are_wrong_both_find_out() -> None:
    one, two = Machine(wrong=True), Machine(wrong=True)
    one.other_works = False  # the other's is not off yet
    assert (await one.run(), one.offload) == (BROKEN, False)
    two.other_works = not one.offload
    assert (await two.run(), two.offload) == (GOOD, False)
    one.other_works = not two.offload
    assert (await one.run(), one.offload) == (GOOD, False)
    assert one.history == [False, True, False]  # in the end it looks whether it was the other alone


async def test_if_only_the_other_is_wrong_the_own_is_on_in_the_end() -> None:
    machine = Machine()
    machine.other_works = False
    assert (await machine.run(), machine.offload) == (BROKEN, False)
    machine.other_works = True
    assert (await machine.run(), machine.offload) == (GOOD, True)


@pytest.mark.parametrize("bad", [BROKEN, SILENT])
async def test_a_loss_without_wrong_checksums_does_not_keep_offload_off(bad: TcpOutcome) -> None:
    machine = Machine(bad=bad)
    machine.other_works = False
    outcomes = [await machine.run() for _ in range(PATIENCE + 1)]
    assert (outcomes, machine.offload, machine.test.failures) == ([bad] * 4, True, PATIENCE + 1)
    machine.other_works = True
    assert (await machine.run(), machine.offload, machine.test.failures) == (GOOD, True, 0)


def test_people_learn_who_it_is_about() -> None:
    problem = broken(Target("r2", "box2", "10.128.8.0", 1450, "192.0.2.1", "192.0.2.2", "box1", 14789))
    assert problem.peer == "r2"
    assert "between box1 (192.0.2.1) and box2 (192.0.2.2)" in problem.message
