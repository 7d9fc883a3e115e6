"""What the runner's tasks require of a container engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.domain.session.blueprint import Blueprint
    from netvps.domain.session.container import Container
    from netvps.domain.session.exec import Stderr
    from netvps.domain.task.container import TaskContainer


class TaskEngine(Protocol):
    """The containers of tasks. Every call has a timeout."""

    async def find(self, task_id: str, owner: str) -> TaskContainer | None:
        """Inspects a task's container; None if there is none."""

    async def provide(self, reference: str) -> None:
        """Pulls an image if it is missing. The error says why it cannot be had."""

    async def create(self, plan: Blueprint) -> None:
        """Creates a container, and its owner's network if needed."""

    async def start(self, container: Container) -> None:
        """Starts a container; idempotent."""

    async def signal(self, container: Container, signal: str) -> None:
        """Sends a signal ("TERM") to PID 1; ignores that it does not run."""

    def logs(self, task_id: str, tail_lines: int, *, follow: bool) -> AsyncGenerator[bytes | Stderr, None]:
        """Yields what a command wrote, in pieces of at most 64 KiB; no `tail_lines` means all. Raises NotFound."""

    async def remove(self, container_id: str) -> None:
        """Removes a container, also a running one; idempotent."""
