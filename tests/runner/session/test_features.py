from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from netvps.domain.runner.gpu import Gpu
from netvps.domain.session.blueprint import NOTHING, Bind, Extras
from netvps.runner.session import features
from netvps.runner.session.features import Features

ONE = Gpu("GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab")


class Gpus:
    def __init__(self) -> None:
        self.found: tuple[Gpu, ...] | None = (ONE,)
        self.problem = ""

    async def read(self) -> tuple[tuple[Gpu, ...] | None, str]:
        return self.found, self.problem


async def test_a_machine_without_them_offers_nothing() -> None:
    found = Features()
    await found.refresh()
    assert (found.gpus, found.gpu_ids, found.extras) == ((), None, NOTHING)


async def test_gpus_stay_known_while_their_driver_does_not_answer() -> None:
    gpus = Gpus()
    found = Features(gpus)
    await found.refresh()
    assert (found.gpus, found.gpu_ids, found.extras) == ((ONE,), frozenset({ONE.id}), Extras(has_gpus=True))
    gpus.found, gpus.problem = None, "it hangs"
    await found.refresh()
    assert (found.gpus, found.gpu_problem) == ((ONE,), "it hangs")
    gpus.found, gpus.problem = (), "there is no NVIDIA driver"
    with capture_logs() as logged:
        await found.refresh()
        await found.refresh()
    assert (found.gpu_ids, len(logged)) == (frozenset(), 1)


async def test_files_of_lxcfs_are_mounted_read_only() -> None:
    found = Features(lxcfs=lambda: (("/var/lib/lxcfs/proc/meminfo", "/proc/meminfo"),))
    await found.refresh()
    assert found.extras.lxcfs == (Bind("/var/lib/lxcfs/proc/meminfo", "/proc/meminfo", read_only=True),)


async def test_an_lxcfs_that_hangs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_LXCFS_SECONDS", 0.01)

    def hang() -> tuple[tuple[str, str], ...]:
        time.sleep(0.2)
        return (("/a", "/b"),)

    found = Features(lxcfs=hang)
    await found.refresh()
    assert found.extras.lxcfs == ()
