"""Reads the GPUs of this machine with NVML (nvidia-ml-py), which needs NVIDIA's driver."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from netvps.domain.runner.gpu import GPU_ID, MAX_GPUS, Gpu
from netvps.hanging import HangingCall

_SECONDS: Final = 10.0
"""NVML blocks while a GPU hangs."""


class NvmlGpus:
    """Implements runner.ports.GpuReader. Without the library or the driver there are no GPUs."""

    def __init__(self, library: Any = None) -> None:
        """`library` is the module pynvml, or one that answers like it; None: the installed one, if there is one."""
        self._call = HangingCall(lambda: read_gpus(library), name="nvml", seconds=_SECONDS)

    async def read(self) -> tuple[tuple[Gpu, ...] | None, str]:
        """Returns the GPUs, and why there are none or some cannot be used; None if that is unknown."""
        try:
            return await self._call.result()
        except TimeoutError:
            return None, f"NVIDIA's driver has not answered for {_SECONDS:g} s; check it with nvidia-smi and dmesg"


def read_gpus(library: Any = None) -> tuple[tuple[Gpu, ...], str]:
    """Returns the GPUs of this machine, and why there are none or some cannot be used. Blocks."""
    nvml = library or _installed()
    if nvml is None:
        return (), "the Python package nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if error.value == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return (), "there is no NVIDIA driver on this machine"
        return (), f"NVIDIA's driver does not answer ({_words(error)}); check it with nvidia-smi"
    try:
        return _all(nvml)
    except nvml.NVMLError as error:
        return (), f"NVIDIA's driver does not answer ({_words(error)}); check it with nvidia-smi"
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _all(nvml: Any) -> tuple[tuple[Gpu, ...], str]:
    gpus, problems = [], []
    for index in range(min(int(nvml.nvmlDeviceGetCount()), MAX_GPUS)):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            if _is_divided(nvml, handle):
                problems.append(f"GPU {index} is left out: it is divided (MIG), and sessions get whole GPUs")
                continue
            gpu = _one(nvml, handle)
        except nvml.NVMLError as error:
            problems.append(f"GPU {index} cannot be used ({_words(error)}); check it with nvidia-smi and dmesg")
            continue
        if GPU_ID.fullmatch(gpu.id):
            gpus.append(gpu)
        else:
            problems.append(f"GPU {index} is left out: its UUID {gpu.id[:60]!r} has an unknown form")
    if not gpus and not problems:
        problems.append("NVIDIA's driver finds no GPU; check it with nvidia-smi")
    return tuple(gpus), "; ".join(problems)


def _one(nvml: Any, handle: Any) -> Gpu:
    return Gpu(
        id=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle))[:100],
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        pci=_text(nvml.nvmlDeviceGetPciInfo(handle).busId)[:32],
        numa_node=_numa_node(nvml, handle),
    )


def _is_divided(nvml: Any, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # most kinds cannot be divided
        return False


def _numa_node(nvml: Any, handle: Any) -> int:
    """-1 where the machine has one node, or the library or driver is too old to say."""
    try:
        return int(nvml.nvmlDeviceGetNumaNodeId(handle))
    except (nvml.NVMLError, AttributeError):
        return -1


def _text(value: str | bytes) -> str:
    """Earlier versions of the library return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _words(error: Exception) -> str:
    return str(error)[:100]


def _installed() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
