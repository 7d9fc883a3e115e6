from __future__ import annotations

from netvps.services.network.netmap_ring import NetmapDelta, Ring


def delta(since: int, generation: int, size: int = 1) -> NetmapDelta:
    return NetmapDelta(since, generation, f"digest of {generation}", (b"x" * size,))


def ring(*deltas: NetmapDelta, most: int = 256, size: int = 1 << 20) -> Ring:
    made = Ring(most, size)
    for each in deltas:
        made.append(each)
    return made


def test_a_reader_of_any_generation_of_the_ring_gets_the_next_delta() -> None:
    deltas = delta(5, 10), delta(10, 13), delta(13, 20)
    made = ring(*deltas)
    expected = {5: 0, 7: 0, 9: 0, 10: 1, 12: 1, 13: 2, 19: 2}
    assert {known: made.after(known) for known in expected} == {g: deltas[i] for g, i in expected.items()}
    assert [made.after(known) for known in (20, 21)] == [None, None]
    assert [made.reaches(known) for known in (4, 5, 20, 99)] == [False, True, True, True]


def test_digests_are_those_of_the_letters() -> None:
    made = ring(delta(5, 10), delta(10, 13))
    assert [made.digest(generation) for generation in (10, 13, 5, 12)] == ["digest of 10", "digest of 13", None, None]


def test_the_oldest_are_forgotten_and_the_latest_never() -> None:
    assert not ring(delta(0, 1), delta(1, 2), delta(2, 3), most=2).reaches(0)
    heavy = ring(delta(0, 1, 60), delta(1, 2, 60), delta(2, 3, 60), size=100)
    assert (heavy.reaches(1), heavy.reaches(2)) == (False, True)
    assert ring(delta(0, 1, 200), size=100).after(0) is not None


def test_an_empty_ring_reaches_no_generation() -> None:
    assert (ring().reaches(0), ring().after(0), ring().generation, ring().digest(0)) == (False, None, 0, None)
