"""What this machine offers to sessions besides its engine: GPUs and lxcfs. Not all machines have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.session.blueprint import NOTHING, Bind, Extras
from netvps.hanging import HangingCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.runner.gpu import Gpu
    from netvps.runner.ports import GpuReader

_LXCFS_SECONDS: Final = 5.0
log = structlog.get_logger()


class Features:
    """The features as last read; `refresh` reads them."""

    def __init__(
        self, gpus: GpuReader | None = None, lxcfs: Callable[[], tuple[tuple[str, str], ...]] | None = None
    ) -> None:
        """`lxcfs` returns pairs of a path of lxcfs and the path in a container that it replaces; it blocks.

        None: not looked for.
        """
        self._read_gpus = gpus
        self._lxcfs_call = HangingCall(lxcfs, name="lxcfs", seconds=_LXCFS_SECONDS) if lxcfs else None
        self.gpus: tuple[Gpu, ...] = ()
        self.gpu_problem = ""
        """Why there are no GPUs, or which of them cannot be used; "" if all can."""
        self.gpu_ids: frozenset[str] | None = None
        """None while unknown."""
        self.extras: Extras = NOTHING
        """For a container's blueprint."""

    async def refresh(self) -> None:
        """Reads everything again. A driver that does not answer leaves the GPUs as they were."""
        if self._read_gpus:
            found, problem = await self._read_gpus.read()
            if problem != self.gpu_problem:
                log.info("GPUs", found=len(found or ()), problem=problem)
            self.gpu_problem = problem
            if found is not None:
                self.gpus, self.gpu_ids = found, frozenset(gpu.id for gpu in found)
        self.extras = Extras(await self._lxcfs(), has_gpus=bool(self.gpus))

    async def _lxcfs(self) -> tuple[Bind, ...]:
        if self._lxcfs_call is None:
            return ()
        try:
            found = await self._lxcfs_call.result()
        except TimeoutError:
            log.warning("lxcfs does not answer; new containers do without it", remedy="systemctl restart lxcfs")
            return ()
        return tuple(Bind(source, target, read_only=True) for source, target in found)
