"""SSH public keys in OpenSSH form, read without any library: a key is data here, never used."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

_MAX_LINE = 16 * 1024
_RSA_MIN_BITS = 2048
_TITLE_MAX = 100
ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: OpenSSH text without comment, and the SHA256 fingerprint that ssh-keygen -l prints."""

    text: str
    fingerprint: str
    comment: str

    @classmethod
    def parse(cls, line: str, field: str = "public_key") -> PublicKey:
        """Reads one authorized_keys line without options (RFC 4253, 6.6). Raises InvalidInput."""

        def refuse(why: str) -> InvalidInput:
            return InvalidInput.of(field, f"{why}: give one line of a .pub file, like 'ssh-ed25519 AAAA… you@host'")

        line = line.strip()
        if len(line) > _MAX_LINE or "\n" in line:
            raise refuse(f"a key is one line of at most {_MAX_LINE} characters")
        if "PRIVATE KEY" in line:
            raise refuse("this is a private key, which nobody but you should see")
        algorithm, _, rest = line.partition(" ")
        encoded, _, comment = rest.strip().partition(" ")
        if algorithm not in ALGORITHMS:
            raise refuse(f"{shown(algorithm)} is none of {', '.join(ALGORITHMS)}")
        try:
            blob = base64.b64decode(encoded, validate=True)
            fields = list(_strings(blob))
        except (binascii.Error, struct.error, ValueError):
            raise refuse("the key is damaged") from None
        if not fields or fields[0] != algorithm.encode() or len(fields) < 2:  # noqa: PLR2004 — name and at least one part
            raise refuse("the key is damaged")
        if algorithm == "ssh-rsa" and int.from_bytes(fields[-1]).bit_length() < _RSA_MIN_BITS:
            raise refuse(f"an RSA key needs {_RSA_MIN_BITS} bits or more")
        digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        printable = "".join(c for c in comment.strip() if c.isprintable())[:_TITLE_MAX]
        return cls(f"{algorithm} {encoded}", f"SHA256:{digest}", printable)


def _strings(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of a key blob (RFC 4251, 5). Raises ValueError unless they fill it."""
    fields, offset = [], 0
    while offset < len(blob):
        (length,) = struct.unpack_from(">I", blob, offset)
        offset += 4
        if offset + length > len(blob):
            raise ValueError("truncated")
        fields.append(blob[offset : offset + length])
        offset += length
    return fields
