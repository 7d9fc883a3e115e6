"""Limits on a machine, and what differs between two."""

from __future__ import annotations

import pytest

from netvps.domain.session.limits import Limits, bytes_words

MACHINE = Limits(8.0, 16 << 30)


@pytest.mark.parametrize(
    ("limits", "meant"),
    [
        (Limits(pids=64), Limits(8.0, 16 << 30, 64)),
        (Limits(2.0, 1 << 30, 64), Limits(2.0, 1 << 30, 64)),
        (Limits(99.0, 1 << 40, 64), Limits(8.0, 16 << 30, 64)),
        (Limits(1 / 3, 0, 64), Limits(0.333333333, 16 << 30, 64)),
    ],
)
def test_no_limit_is_all_that_the_machine_has(limits: Limits, meant: Limits) -> None:
    assert limits.on(MACHINE) == meant
    assert limits.on(Limits()).cpus == pytest.approx(limits.cpus)


def test_only_what_differs_is_changed() -> None:
    now = Limits(2.0, 1 << 30, 64)
    assert Limits(2.0, 1 << 30, 64).differing(now) is None
    assert Limits(4.0, 1 << 30, 32).differing(now) == Limits(4.0, 0, 32)
    assert Limits(2.0, 1 << 29, 64).differing(now) == Limits(memory_bytes=1 << 29)


def test_bytes_in_words() -> None:
    assert [bytes_words(size) for size in (812 << 20, 3 << 29, 16 << 30)] == ["812 MiB", "1.5 GiB", "16 GiB"]
