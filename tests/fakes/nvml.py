"""A module that answers like pynvml; its answers are written by hand, after the library's documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

GPU_IS_LOST = 15
NOT_SUPPORTED = 3
DRIVER_NOT_LOADED = 9


class NVMLError(Exception):
    """The library's error: it has a number."""

    def __init__(self, value: int) -> None:
        texts = {3: "Not Supported", 9: "Driver Not Loaded", 12: "NVML Shared Library Not Found", 15: "GPU is lost"}
        super().__init__(texts[value])
        self.value = value


@dataclass
class Device:
    """One GPU of the fake."""

    uuid: str | bytes
    name: str | bytes
    total: int
    bus_id: str | bytes
    numa_node: int | None = None
    mig: bool | None = None
    error: int = 0
    """What every question about it is answered with; 0 for none."""


@dataclass
class RecordedNvml:
    """Two H200 of one machine."""

    devices: list[Device] = field(
        default_factory=lambda: [
            Device(
                "GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab", "NVIDIA H200", 150754820096, "00000000:19:00.0", 0, False
            ),
            Device(b"GPU-7a8b9c0d-1111-4222-8333-444455556666", b"NVIDIA H200", 150754820096, b"00000000:3B:00.0", 1),
        ]
    )
    init_error: int = 0
    opened: int = 0

    NVMLError = NVMLError
    NVML_ERROR_LIBRARY_NOT_FOUND = 12

    def nvmlInit(self) -> None:  # noqa: N802 — the library's names, here and below
        if self.init_error:
            raise NVMLError(self.init_error)
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:  # noqa: N802
        if error := self.devices[index].error:
            raise NVMLError(error)
        return self.devices[index]

    def nvmlDeviceGetUUID(self, device: Device) -> str | bytes:  # noqa: N802
        return device.uuid

    def nvmlDeviceGetName(self, device: Device) -> str | bytes:  # noqa: N802
        return device.name

    def nvmlDeviceGetMemoryInfo(self, device: Device) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=device.total, free=device.total, used=0)

    def nvmlDeviceGetPciInfo(self, device: Device) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(busId=device.bus_id)

    def nvmlDeviceGetMigMode(self, device: Device) -> list[int]:  # noqa: N802
        if device.mig is None:
            raise NVMLError(NOT_SUPPORTED)
        return [int(device.mig), int(device.mig)]

    def nvmlDeviceGetNumaNodeId(self, device: Device) -> int:  # noqa: N802
        if device.numa_node is None:
            raise NVMLError(NOT_SUPPORTED)
        return device.numa_node
