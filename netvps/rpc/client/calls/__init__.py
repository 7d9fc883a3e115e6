"""The calls of the API as functions: from arguments to a request, and to how its answer is read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netvps.rpc.client.calls import (
        images,
        leases,
        machines,
        moves,
        people,
        registration,
        registries,
        sessions,
        shares,
        snapshots,
        tasks,
        urls,
    )

__all__ = [
    "images",
    "leases",
    "machines",
    "moves",
    "people",
    "registration",
    "registries",
    "sessions",
    "shares",
    "snapshots",
    "tasks",
    "urls",
]


def __getattr__(name: str) -> Any:
    """Imports a module when it is used; each imports the messages and the values that its calls convert."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
