from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.names import SessionName
from netvps.domain.runner.placement import Use, choose, fits, gpus_for, joins_overlay, why_none, why_not
from netvps.domain.runner.runner import COMMANDS, Capacity, Runner, RunnerState, Underlay
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import DesiredState, Session
from netvps.domain.session.spec import Network, Placement, SessionSpec
from tests.domain.runner.test_gpu import gpu, gpu_id

NOW = datetime(2026, 5, 4, tzinfo=UTC)
GIB = 1 << 30
MINE, THEIRS = SessionName("alice", "mine"), SessionName("bob", "x")


def machine(name: str, cpus: int = 8, memory: int = 16, state: RunnerState = RunnerState.ONLINE) -> Runner:
    return Runner(name, name, NOW, NOW, state, capacity=Capacity(cpus, memory * GIB))


def wanted(cpus: float = 0, memory: int = 0) -> Session:
    """Memory is in GiB."""
    spec = SessionSpec(cpus=cpus, memory_bytes=memory * GIB)
    return new_session("uid", SessionName("alice", "x"), spec, NOW)


def use(*sessions: Session) -> Use:
    return reduce(Use.with_session, sessions, Use())


def test_a_session_without_limits_is_counted_for_something() -> None:
    assert use(wanted(), wanted(1.5, 4)) == Use(2, 2500, 5 * GIB)
    assert wanted(0.01).cpu_claim == 10


def test_the_emptiest_machine_is_chosen_and_names_decide_between_equals() -> None:
    a, b, large = machine("a"), machine("b"), machine("large", 64, 128)
    assert choose(wanted(), [b, a], {}) == a
    assert choose(wanted(), [a, b], {"a": use(wanted())}) == b
    assert choose(wanted(), [a, b, large], {"large": use(*[wanted()] * 3)}) == large


def test_the_scarcer_of_cpu_and_memory_decides() -> None:
    many_cpus, much_memory = machine("cpus", 64, 8), machine("memory", 8, 64)
    assert choose(wanted(6, 1), [many_cpus, much_memory], {}) == many_cpus
    assert choose(wanted(1, 6), [many_cpus, much_memory], {}) == much_memory


def test_limits_may_add_up_to_more_than_there_is() -> None:
    a = machine("a", 2, 2)
    assert choose(wanted(2), [a], {"a": use(*[wanted(2)] * 9)}) == a


@pytest.mark.parametrize(
    ("spec", "runners", "why"),
    [
        (SessionSpec(), [], "no runner is online; see netvps runner ls"),
        (SessionSpec(), [machine("a", state=RunnerState.OFFLINE)], "no runner is online; see netvps runner ls"),
        (
            SessionSpec(cpus=8.5),
            [machine("a")],
            "no runner that is online has 8.5 CPUs; see netvps runner ls, or ask for less",
        ),
        (
            SessionSpec(cpus=1, memory_bytes=17 * GIB),
            [machine("a"), machine("b", memory=64, state=RunnerState.OFFLINE)],
            "no runner that is online has 1 CPUs and 17 GiB of memory; see netvps runner ls, or ask for less",
        ),
    ],
)
def test_there_is_a_reason_where_there_is_no_place(spec: SessionSpec, runners: list[Runner], why: str) -> None:
    assert choose(replace(wanted(), spec=spec), runners, {}) is None
    assert why_none(spec, runners) == why


def test_only_one_that_has_to_be_on_the_overlay_needs_a_runner_that_is() -> None:
    plain = machine("a")
    member = replace(machine("b", cpus=1), underlay=Underlay(("192.0.2.1",), 1450))
    expected = {Network.DEFAULT: "a", Network.NONE: "a", Network.OVERLAY: "b"}
    for network, name in expected.items():
        session = replace(wanted(), spec=SessionSpec(network=network))
        chosen = choose(session, [plain, member], {})
        assert chosen is not None
        assert chosen.name == name
        assert joins_overlay(session.spec, member) is (network is not Network.NONE)
        assert not joins_overlay(session.spec, plain)
    overlay = SessionSpec(network=Network.OVERLAY, cpus=2)
    assert why_none(overlay, [plain]) == (
        "no runner that is online is on the overlay; see netvps runner ls, or use another network"
    )
    assert why_none(overlay, [plain, member]) == (
        "no runner that is online has 2 CPUs and is on the overlay; see netvps runner ls, or ask for less"
    )


def test_a_machine_of_unknown_size_takes_what_comes() -> None:
    unknown = replace(machine("a"), capacity=Capacity())
    assert choose(wanted(64, 1), [unknown], {"a": use(wanted())}) == unknown


@given(
    st.lists(
        st.builds(
            machine, st.sampled_from("abcdef"), st.integers(0, 8), st.integers(0, 8), st.sampled_from(RunnerState)
        ),
        unique_by=lambda runner: runner.uid,
    ),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_the_chosen_machine_is_online_and_large_enough(runners: list[Runner], cpus: int, memory: int) -> None:
    session = wanted(cpus, memory)
    fitting = [runner for runner in runners if runner.state is RunnerState.ONLINE and fits(session.spec, runner)]
    chosen = choose(session, runners, {})
    assert chosen in fitting if fitting else chosen is None
    assert choose(session, reversed(runners), {}) == chosen


def test_a_runner_without_sessions_gets_none() -> None:
    member, other = replace(machine("a", 64, 64), no_sessions=True), machine("b")
    assert choose(wanted(), [member, other], {}) == other
    assert choose(wanted(), [member], {}) is None
    assert why_none(SessionSpec(), [member]) == (
        "no runner that is online runs sessions (all have --no-sessions); see netvps runner ls"
    )
    assert "64" in why_none(SessionSpec(cpus=64), [member, other])


def test_a_machine_whose_engine_does_not_answer_gets_no_session_and_says_why() -> None:
    broken, other = replace(machine("a", 64, 64), engine_problem="Docker does not answer"), machine("b")
    assert choose(wanted(), [broken, other], {}) == other
    assert choose(wanted(), [broken], {}) is None
    assert why_none(SessionSpec(), [broken]) == (
        "no runner that is online can start sessions now (a: Docker does not answer); it starts when one can"
    )
    assert "64" in why_none(SessionSpec(cpus=64), [broken, other])


def test_a_disk_limit_is_placed_where_it_can_be_kept() -> None:
    plain = machine("plain", 64, 64)
    able = replace(machine("able"), capacity=Capacity(8, 16 * GIB, disk_bytes=100 * GIB, disk_limits=True))
    session = replace(wanted(), spec=SessionSpec(disk_bytes=20 * GIB))
    assert choose(session, [plain, able], {}) == able
    assert choose(session, [plain], {}) is None
    assert choose(replace(session, spec=SessionSpec(disk_bytes=101 * GIB)), [able], {}) is None
    said = why_none(session.spec, [replace(plain, capacity=Capacity(8, disk_limits_problem="it is on ext4"))])
    assert said == "runner plain cannot limit the disk of a session: it is on ext4; or ask for no disk limit"
    assert "it runs an earlier version of netvps" in why_none(session.spec, [plain])
    assert why_none(SessionSpec(disk_bytes=101 * GIB), [able]).startswith(
        "no runner that is online has 101 GiB of disk"
    )


def test_disk_limits_count_like_memory() -> None:
    a, b = (replace(machine(n), capacity=Capacity(8, 16 * GIB, disk_bytes=100 * GIB, disk_limits=True)) for n in "ab")
    session = replace(wanted(), spec=SessionSpec(disk_bytes=20 * GIB))
    assert choose(session, [a, b], {"a": Use(disk_claims=60 * GIB)}) == b
    assert choose(session, [a], {"a": Use(disk_claims=200 * GIB)}) == a


def test_gpus_are_counted_exactly() -> None:
    a, b = (replace(machine(n), capacity=Capacity(8, 16 * GIB, gpus=(gpu(1), gpu(2)))) for n in "ab")
    session = replace(wanted(), spec=SessionSpec(gpus=2))
    assert choose(session, [machine("c"), a, b], {"a": Use(gpus={gpu_id(1): MINE})}) == b
    assert gpus_for(session, b, Use()) == (gpu_id(1), gpu_id(2))
    assert gpus_for(wanted(), b, Use()) == ()
    full = {"a": Use(gpus={gpu_id(1): MINE}), "b": Use(gpus={gpu_id(2): THEIRS})}
    assert choose(session, [a, b], full) is None
    assert why_none(session.spec, [a, b], full) == (
        "no runner that is online has 2 GPUs free (a 1 of 2, b 1 of 2); it starts when one has"
    )
    assert why_none(SessionSpec(gpus=3), [a, b]) == "no runner that is online has more than 2 GPUs; ask for less"


def test_named_gpus_are_refused_with_those_that_are_free_and_who_has_the_others() -> None:
    a, b = (replace(machine(n), capacity=Capacity(8, 16 * GIB, gpus=gpus)) for n, gpus in (
        ("a", (gpu(1), gpu(2))), ("b", (gpu(3),)),
    ))  # fmt: skip
    uses = {"a": Use(gpus={gpu_id(1): MINE, gpu_id(2): THEIRS})}

    def why(*numbers: int) -> str:
        return why_none(SessionSpec(gpu_ids=tuple(map(gpu_id, numbers))), [machine("c"), a, b], uses, "alice")

    assert why(9) == f"no runner that is online has {gpu_id(9)}; free are a: none; b: {gpu_id(3)}"
    assert why(1, 3) == (
        f"the GPUs that it names are on several runners: {gpu_id(1)} on a, {gpu_id(3)} on b; name those of one"
    )
    assert why(1, 2) == (
        f"it waits for GPUs that others hold: {gpu_id(1)} (mine.alice), {gpu_id(2)} (a session of another user)"
    )


def test_a_filter_keeps_a_session_from_other_runners_and_says_so() -> None:
    rack3, plain = replace(machine("a"), labels=("rack=3",)), machine("b", 64, 64)
    session = replace(wanted(), spec=SessionSpec(runner_filter="labels.rack=3"))
    assert choose(session, [rack3, plain], {}) == rack3
    assert choose(session, [plain], {}) is None
    assert not fits(session.spec, plain)
    assert why_not(session, plain, Use()) == "it does not match 'labels.rack=3'"
    assert why_none(session.spec, [plain]) == ("no runner that is online matches 'labels.rack=3'; see netvps runner ls")


def test_a_command_is_for_runners_that_know_it() -> None:
    old, able = machine("old"), replace(machine("new"), capabilities=(COMMANDS,))
    session = replace(wanted(), spec=SessionSpec(run_entrypoint=True, command=("serve",)))
    assert choose(session, [old, able], {}) == able
    assert why_not(session, old, Use()).endswith("and the image's own command only: update it")
    assert (
        why_none(session.spec, [old])
        == "no runner that is online runs another command than the image's: update netvps there"
    )


def test_packing_fills_one_runner_after_the_other_and_claims_none_in_full_while_there_is_room() -> None:
    session = replace(wanted(2, 1), spec=SessionSpec(cpus=2, memory_bytes=GIB, placement=Placement.PACK))
    machines, uses, order = [machine("a"), machine("b")], dict[str, Use](), ""
    for _ in range(10):
        chosen = choose(session, machines, uses)
        assert chosen is not None
        uses[chosen.uid] = uses.get(chosen.uid, Use()).with_session(session)
        order += chosen.uid
    assert order == "aaaabbbb" + "ab"


_labels = st.sampled_from([(), ("rack=1",), ("rack=2",), ("rack=2", "ssd=yes")])
_gpus = st.lists(st.integers(1, 3), unique=True, max_size=3).map(lambda numbers: tuple(map(gpu, numbers)))
_machines = st.builds(
    lambda name, cpus, memory, gpus, labels, **more: Runner(
        name, name, NOW, NOW, capacity=Capacity(cpus, memory * GIB, gpus=gpus), labels=labels, **more
    ),
    st.sampled_from("abcdef"),
    st.integers(1, 8),
    st.integers(1, 8),
    _gpus,
    _labels,
    state=st.sampled_from(RunnerState),
    cordoned=st.booleans(),
    no_sessions=st.booleans(),
    engine_problem=st.sampled_from(["", "", "Docker does not answer"]),
)
_sessions = st.builds(
    lambda **spec: new_session("uid", SessionName("alice", "x"), SessionSpec(**spec), NOW),
    cpus=st.integers(0, 9),
    memory_bytes=st.integers(0, 9).map(lambda size: size * GIB),
    gpus=st.integers(0, 3),
    runner_filter=st.sampled_from(["", "labels.rack=2", "-labels:ssd OR name=a"]),
    placement=st.sampled_from(Placement),
)


@given(st.lists(_machines, unique_by=lambda runner: runner.uid), st.lists(_sessions, max_size=12))
def test_placement_is_deterministic_explained_and_never_where_it_may_not_be(
    runners: list[Runner], sessions: list[Session]
) -> None:
    uses = dict[str, Use]()
    for number, session in enumerate(sessions):
        chosen = choose(session, runners, uses)
        assert choose(session, reversed(runners), uses) == chosen
        reasons = {one.uid: why_not(session, one, uses.get(one.uid, Use())) for one in runners}
        if chosen is None:
            assert all(reasons.values())
            assert why_none(session.spec, runners, uses)
            continue
        assert not reasons[chosen.uid]
        assert chosen.state is RunnerState.ONLINE
        assert not any((chosen.cordoned, chosen.no_sessions, chosen.engine_problem))
        assert session.spec.cpus <= chosen.capacity.cpus
        assert session.spec.memory_bytes <= chosen.capacity.memory_bytes
        use = uses.get(chosen.uid, Use())
        held = gpus_for(session, chosen, use)
        assert held is not None
        assert not set(held) & set(use.gpus)
        uses[chosen.uid] = use.with_session(
            replace(session, name=f"x{number}", desired=DesiredState.RUNNING, runner=chosen.uid, gpus=held)
        )
