"""The overlay lock: one process per network namespace holds it, by binding an abstract socket (unix(7)).

An abstract name belongs to the network namespace and disappears with the process, however the process ends: unlike
a lock file it can be neither stale nor visible to another namespace.
"""

from __future__ import annotations

import socket

from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames


class OverlayLock:
    """This process' lock on the overlay, taken or not yet."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES) -> None:
        self._name = f"\0netvps overlay {names.device}"
        self._lock: socket.socket | None = None

    def acquire(self) -> bool:
        """Takes the lock, until `free`; False if another process has it."""
        if self._lock is None:
            self._lock = _bound(self._name)
        return self._lock is not None

    def release(self) -> None:
        """Releases the lock; idempotent."""
        if self._lock:
            self._lock.close()
        self._lock = None


def _bound(name: str) -> socket.socket | None:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        opened.bind(name)
    except OSError:
        opened.close()
        return None
    return opened
