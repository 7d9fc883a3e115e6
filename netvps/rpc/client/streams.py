"""Closing of async iterators over streams by their consumer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")


@asynccontextmanager
async def closing(messages: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Closes an iterator at the end of the block if it supports that; generators do, and release their resources."""
    try:
        yield messages
    finally:
        close = getattr(messages, "aclose", None)
        if close is not None:
            await close()
