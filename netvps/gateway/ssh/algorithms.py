"""SSH algorithms of the gateway, towards clients and agents."""

from __future__ import annotations

from asyncssh.encryption import get_default_encryption_algs
from asyncssh.kex import get_default_kex_algs
from asyncssh.packet import PacketDecodeError, SSHPacket
from asyncssh.public_key import get_default_public_key_algs


def kex_algorithms() -> list[str]:
    """The defaults of asyncssh with curve25519 first: Dropbear's client guesses it, and fails on another choice."""
    first = ["curve25519-sha256", "curve25519-sha256@libssh.org"]
    return first + [name for name in _names(get_default_kex_algs()) if name not in first and not name.startswith("gss")]


def encryption_algorithms() -> list[str]:
    """AES-GCM first, by far the fastest here; no CBC."""
    return sorted(_names(get_default_encryption_algs()), key=lambda name: ("gcm" not in name, "chacha" not in name))


def signature_algorithms() -> list[str]:
    """The defaults of asyncssh without RSA with SHA-1 and SHA-224, which are too weak."""
    return [name for name in _names(get_default_public_key_algs()) if name not in {"ssh-rsa", "ssh-rsa-sha224@ssh.com"}]


def algorithm_of(signature: bytes) -> str:
    """The algorithm that a signature in SSH wire format names; '' if it is damaged."""
    try:
        return SSHPacket(signature).get_string().decode("ascii")
    except (PacketDecodeError, UnicodeDecodeError):
        return ""


def _names(algorithms: list[bytes]) -> list[str]:
    return [name.decode() for name in algorithms]
