"""Errors as messages on the private socket (wire.py)."""

from __future__ import annotations

from typing import Final

from netvps.errors import (
    ConfigError,
    Exhausted,
    InternalError,
    NetvpsError,
    NotFound,
    NotPermitted,
    TimedOut,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from netvps.gateway.worker.wire import LIMIT, Failed

_ERRORS: Final[dict[str, type[NetvpsError]]] = {
    kind.__name__: kind
    for kind in (ConfigError, Exhausted, NotFound, NotPermitted, TimedOut, Unauthenticated, Unavailable, WrongState)
}


def failure(number: int, error: NetvpsError) -> Failed:
    """An error as a message."""
    return Failed(number, type(error).__name__, error.message[: LIMIT // 16], error.reason)


def error_of(failed: Failed) -> NetvpsError:
    """The error of a message; an unknown class becomes an InternalError."""
    return _ERRORS.get(failed.error, InternalError)(failed.message, reason=failed.reason)
