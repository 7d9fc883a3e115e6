"""SSH algorithms of the gateway, towards clients and agents."""

from __future__ import annotations

from asyncssh.encryption import get_default_encryption_algs
from asyncssh.kex import get_default_kex_algs


def kex_algorithms() -> list[str]:
    """The defaults of asyncssh with curve25519 first: Dropbear's client guesses it, and fails on another choice."""
    first = ["curve25519-sha256", "curve25519-sha256@libssh.org"]
    return first + [name for name in _names(get_default_kex_algs()) if name not in first and not name.startswith("gss")]


def encryption_algorithms() -> list[str]:
    """AES-GCM first, by far the fastest here; no CBC."""
    return sorted(_names(get_default_encryption_algs()), key=lambda name: ("gcm" not in name, "chacha" not in name))


def _names(algorithms: list[bytes]) -> list[str]:
    return [name.decode() for name in algorithms]
