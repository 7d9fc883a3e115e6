from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.runner.gpu import GPU_ID, Gpu, allocate


def gpu_id(number: int) -> str:
    return f"GPU-{number:08x}-0000-4000-8000-000000000000"


def gpu(number: int, node: int = -1) -> Gpu:
    return Gpu(gpu_id(number), "NVIDIA H200", 139 << 30, f"00000000:{number:02X}:00.0", node)


FOUR = [gpu(number, node=number // 2) for number in range(4)]
ids = st.integers(0, 11).map(gpu_id)


def test_the_uuid_of_a_gpu_is_known_by_its_form() -> None:
    assert GPU_ID.fullmatch("GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab")
    assert not any(
        map(GPU_ID.fullmatch, ["", "all", "0", "GPU-5E4B1F2A-0C1D-4E5F-8A9B-0123456789AB", gpu_id(1) + ",x"])
    )


def test_gpus_come_in_the_order_of_the_bus() -> None:
    assert allocate(1, reversed(FOUR), ()) == (gpu_id(0),)
    assert allocate(4, reversed(FOUR), ()) == tuple(map(gpu_id, range(4)))
    assert allocate(0, FOUR, ()) == ()
    assert allocate(5, FOUR, ()) is None
    assert allocate(4, FOUR, {gpu_id(2)}) is None


def test_gpus_come_from_one_numa_node_and_from_the_fullest_that_has_enough() -> None:
    assert allocate(2, FOUR, {gpu_id(0)}) == (gpu_id(2), gpu_id(3))
    assert allocate(1, FOUR, {gpu_id(2)}) == (gpu_id(3),)
    assert allocate(3, FOUR, {gpu_id(0)}) == (gpu_id(1), gpu_id(2), gpu_id(3))


def test_named_gpus_are_those_and_no_others() -> None:
    assert allocate(2, FOUR, (), named=(gpu_id(3), gpu_id(1))) == (gpu_id(1), gpu_id(3))
    assert allocate(2, FOUR, {gpu_id(1)}, named=(gpu_id(3), gpu_id(1))) is None
    assert allocate(1, FOUR, (), named=(gpu_id(9),)) is None


def test_a_session_gets_the_gpus_that_it_had_where_they_are_free() -> None:
    assert allocate(2, FOUR, (), before=(gpu_id(1), gpu_id(3))) == (gpu_id(1), gpu_id(3))
    assert allocate(1, FOUR, {gpu_id(3)}, before=(gpu_id(3),)) == (gpu_id(2),)


@given(
    count=st.integers(0, 8),
    machine=st.lists(st.builds(gpu, st.integers(0, 11), st.integers(-1, 2)), max_size=8, unique_by=lambda one: one.id),
    held=st.frozensets(ids),
    named=st.frozensets(ids, max_size=3),
    before=st.frozensets(ids),
)
def test_what_is_allocated_is_free_exact_and_the_same_each_time(
    count: int, machine: list[Gpu], held: frozenset[str], named: frozenset[str], before: frozenset[str]
) -> None:
    count = len(named) or count
    found = allocate(count, machine, held, named=named, before=before)
    assert found == allocate(count, machine[::-1], held, named=named, before=before)
    free = {one.id for one in machine} - held
    if found is None:
        assert count > len(free) or not named <= free
        return
    assert len(found) == len(set(found)) == count
    assert free.issuperset(found)
    assert not named or named == set(found)
    places = {one.id: (one.numa_node, one.pci) for one in machine}
    assert all(places[one] < places[other] for one, other in pairwise(found))


def test_a_gpu_that_is_listed_twice_is_allocated_once() -> None:
    assert allocate(2, [FOUR[0], replace(FOUR[0], numa_node=5)], ()) is None
