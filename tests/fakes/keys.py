"""SSH public keys that look right and belong to no one."""

from __future__ import annotations

import base64
import struct


def blob(*parts: bytes) -> bytes:
    """Length-prefixed strings (RFC 4251, 5)."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def ed25519(number: int) -> str:
    """The key of that number, OpenSSH form."""
    data = blob(b"ssh-ed25519", number.to_bytes(32))
    return f"ssh-ed25519 {base64.b64encode(data).decode()}"
