"""Prepares what a session's container is made from, mounts, and needs at its start."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.session.attachment import resolv_conf
from netvps.domain.session.blueprint import Blueprint, blueprint
from netvps.errors import NetvpsError
from netvps.faults import fault_point

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.domain.session.container import SourceImage
    from netvps.domain.session.session import Assignment
    from netvps.runner.ports import Engine, Link
    from netvps.runner.session.agent.runtime import RuntimeFolder
    from netvps.runner.session.features import Features

_BOOT_SECONDS: Final = 10.0
log = structlog.get_logger()


class Preparation:
    """What one session's container needs of this machine: `node` is the runner's uid, `agent` the agent's binary."""

    def __init__(
        self, engine: Engine, link: Link, folder: RuntimeFolder, features: Features, *, node: str, agent: Path
    ) -> None:
        self._engine = engine
        self._link = link
        self._folder = folder
        self._features = features
        self._node = node
        self._agent = agent

    async def prepare(self, assignment: Assignment) -> None:
        """Prepares what a container mounts."""
        await self._folder.prepare()
        self._folder.write_address(assignment.address, assignment.local_address)
        await self._write_resolv_conf(assignment)

    def blueprint(self, assignment: Assignment, source: SourceImage) -> Blueprint:
        """The definition of the container."""
        return blueprint(
            assignment,
            source,
            node=self._node,
            machine_memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            agent=self._agent,
            run=self._folder.path,
            resolv_conf=self._folder.resolv_conf,
            extra=self._features.extras,
        )

    async def boot(self, assignment: Assignment) -> bool:
        """Writes the agent's credential if due; returns False if the control plane is unavailable.

        The container starts all the same: the user's processes need not wait, and the agent waits for the file.
        """
        if not self._folder.needs_credential(assignment.epoch):
            return True
        try:
            async with asyncio.timeout(_BOOT_SECONDS):
                credential = await self._link.agent_credential(assignment.session_uid, assignment.epoch)
        except (NetvpsError, TimeoutError) as error:
            log.info("no certificate for the agent yet; retrying", error=str(error))
            return False
        fault_point("boot.before_write")
        self._folder.write_credential(assignment.epoch, credential)
        fault_point("boot.after_write")
        return True

    async def _write_resolv_conf(self, assignment: Assignment) -> None:
        """Writes it before every start: the bridge may have changed, and a moved container still mounts the file."""
        here = assignment.local_address or assignment.address
        bridge = await self._engine.bridge(here) if here else ""
        self._folder.write_resolv_conf(resolv_conf(assignment, bridge))
