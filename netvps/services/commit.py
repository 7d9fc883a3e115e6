"""Named transactions for fault injection: a process may die before the commit, or between commit and answer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from netvps.faults import fault_point

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.services.ports import Store, Transaction


@asynccontextmanager
async def write(store: Store, actor: str, name: str) -> AsyncGenerator[Transaction, None]:
    """`store.write(actor)` between the points NAME.before_commit and NAME.after_commit (netvps.faults.COMMITS)."""
    async with store.write(actor) as transaction:
        yield transaction
        fault_point(f"{name}.before_commit")
    fault_point(f"{name}.after_commit")
