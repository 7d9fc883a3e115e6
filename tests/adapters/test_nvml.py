"""On a fake of NVML: no machine with a GPU is at hand."""

from __future__ import annotations

import sys
import threading

import pytest

from netvps.adapters import nvml
from netvps.adapters.nvml import NvmlGpus, read_gpus
from netvps.domain.runner.gpu import Gpu
from tests.fakes.nvml import DRIVER_NOT_LOADED, GPU_IS_LOST, Device, RecordedNvml

FIRST = Gpu("GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab", "NVIDIA H200", 150754820096, "00000000:19:00.0", 0)
SECOND = Gpu("GPU-7a8b9c0d-1111-4222-8333-444455556666", "NVIDIA H200", 150754820096, "00000000:3B:00.0", 1)


def test_gpus_are_read_with_name_memory_and_place() -> None:
    machine = RecordedNvml()
    assert read_gpus(machine) == ((FIRST, SECOND), "")
    assert machine.opened == 0


def test_without_a_driver_there_are_no_gpus_and_it_is_said() -> None:
    assert read_gpus(RecordedNvml(init_error=12)) == ((), "there is no NVIDIA driver on this machine")
    found, problem = read_gpus(RecordedNvml(init_error=DRIVER_NOT_LOADED))
    assert (found, problem) == (
        (),
        "NVIDIA's driver does not answer (Driver Not Loaded); check it with nvidia-smi",
    )
    assert read_gpus(RecordedNvml([])) == ((), "NVIDIA's driver finds no GPU; check it with nvidia-smi")


def test_without_the_library_there_are_no_gpus_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_gpus() == ((), "the Python package nvidia-ml-py is not installed")


def test_a_lost_gpu_is_left_out_and_named() -> None:
    machine = RecordedNvml()
    machine.devices[0].error = GPU_IS_LOST
    assert read_gpus(machine) == (
        (SECOND,),
        "GPU 0 cannot be used (GPU is lost); check it with nvidia-smi and dmesg",
    )


def test_a_divided_gpu_and_one_of_an_unknown_form_are_left_out() -> None:
    machine = RecordedNvml()
    machine.devices[0].mig = True
    machine.devices.append(Device("GPU-x", "Odd", 1, "0"))
    found, problem = read_gpus(machine)
    assert found == (SECOND,)
    assert "GPU 0 is left out: it is divided (MIG)" in problem
    assert "GPU 2 is left out: its UUID 'GPU-x' has an unknown form" in problem


def test_the_installed_library_says_that_there_is_no_driver_here() -> None:
    pytest.importorskip("pynvml")
    found, problem = read_gpus()
    assert (found and not problem) or problem


async def test_a_driver_that_hangs_leaves_the_gpus_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    class Hanging(RecordedNvml):
        def nvmlInit(self) -> None:  # noqa: N802
            answers.wait(10)
            super().nvmlInit()

    monkeypatch.setattr(nvml, "_SECONDS", 0.01)
    found, problem = await NvmlGpus(Hanging()).read()
    answers.set()
    assert (found, "has not answered for 0.01 s" in problem) == (None, True)


async def test_gpus_are_read_in_a_thread() -> None:
    assert await NvmlGpus(RecordedNvml()).read() == ((FIRST, SECOND), "")
