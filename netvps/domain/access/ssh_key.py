"""SSH public keys in OpenSSH form, parsed without a library; netvps stores keys and never uses them.

The parser is as strict as the agent's SSH library. Otherwise a malformed key would be accepted here and rejected only
by the agent, when the user who registered it does not see the error.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.checks import Checks

_MAX_LINE = 16 * 1024
_RSA_MIN_BITS, _RSA_MAX_BITS, _RSA_MAX_EXPONENT_BITS = 2048, 16384, 31
_ED25519_BYTES = 32
TITLE_MAX = 100
ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_POINT_BYTES = {b"nistp256": 65, b"nistp384": 97, b"nistp521": 133}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: OpenSSH text without comment, and the SHA256 fingerprint as ssh-keygen -l prints it."""

    text: str
    fingerprint: str
    comment: str

    @classmethod
    def parse(cls, line: str, field: str = "public_key") -> PublicKey:
        """Parses one authorized_keys line without options (RFC 4253, 6.6). Raises InvalidInput."""
        import hashlib  # loads OpenSSL's library, which most commands do not need

        def refuse(why: str) -> InvalidInput:
            return InvalidInput.of(field, f"{why}: give one line of a .pub file, like 'ssh-ed25519 AAAA… you@host'")

        line = line.strip()
        if "PRIVATE KEY-----" in line:
            raise refuse("this is a private key, which must not leave your machine")
        if len(line) > _MAX_LINE or len(line.splitlines()) > 1:
            raise refuse(f"a key is one line of at most {_MAX_LINE} characters")
        algorithm, encoded, comment = (*line.split(maxsplit=2), "", "", "")[:3]
        if algorithm not in ALGORITHMS:
            raise refuse(f"{shown(algorithm)} is none of {', '.join(ALGORITHMS)}")
        try:
            blob = base64.b64decode(encoded, validate=True)
            name, *parts = _strings(blob)
        except (binascii.Error, struct.error, ValueError):
            raise refuse("the key is damaged") from None
        if name != algorithm.encode():
            raise refuse("the key is damaged")
        if fault := _fault(algorithm, parts):
            raise refuse(fault)
        fingerprint = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        text = f"{algorithm} {base64.b64encode(blob).decode()}"
        return cls(text, f"SHA256:{fingerprint}", printable_title(comment))


@lru_cache(maxsize=4096)
def fingerprint_of(line: str) -> str:
    """Returns the fingerprint of a key. Raises InvalidInput as `PublicKey.parse` does."""
    return PublicKey.parse(line).fingerprint


def check_title(checks: Checks, title: str) -> None:
    """Records a violation unless the title has at most TITLE_MAX printable characters."""
    checks.require(
        len(title) <= TITLE_MAX and title.isprintable(),
        "title",
        f"{shown(title)} is not up to {TITLE_MAX} printable characters",
    )


def printable_title(text: str) -> str:
    """Makes a valid key title of any text: drops unprintable characters and truncates."""
    return "".join(c for c in text.strip() if c.isprintable())[:TITLE_MAX]


def _strings(blob: bytes) -> list[bytes]:
    """Splits a key blob into its length-prefixed strings (RFC 4251, 5). Raises ValueError or struct.error."""
    fields, offset = [], 0
    while offset < len(blob):
        (length,) = struct.unpack_from(">I", blob, offset)
        offset += 4
        if offset + length > len(blob):
            raise ValueError("truncated")
        fields.append(blob[offset : offset + length])
        offset += length
    return fields


def _fault(algorithm: str, parts: list[bytes]) -> str:
    """Why a key's fields are invalid (RFC 4253, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f); '' if they are valid."""
    if algorithm == "ssh-rsa":
        return _rsa_fault(parts)
    if algorithm.startswith("sk-"):
        if not parts or not parts[-1]:
            return "the key is damaged"
        parts = parts[:-1]  # without the last field, the application ("ssh:")
    is_key = _is_ed25519 if "ed25519" in algorithm else _is_point
    return "" if is_key(algorithm, parts) else "the key is damaged"


def _rsa_fault(parts: list[bytes]) -> str:
    try:
        exponent, modulus = (int.from_bytes(part, signed=True) for part in parts)
    except ValueError:
        return "the key is damaged"
    if not _RSA_MIN_BITS <= modulus.bit_length() <= _RSA_MAX_BITS:
        return f"an RSA key has {_RSA_MIN_BITS} to {_RSA_MAX_BITS} bits"
    sound = modulus > 0 and exponent > 1 and exponent % 2 and exponent.bit_length() <= _RSA_MAX_EXPONENT_BITS
    return "" if sound else "the key is damaged"


def _is_ed25519(_algorithm: str, parts: list[bytes]) -> bool:
    return [len(part) for part in parts] == [_ED25519_BYTES]


def _is_point(algorithm: str, parts: list[bytes]) -> bool:
    """Whether the fields are the algorithm's curve and an uncompressed point.

    Checks the form, not that it is on the curve.
    """
    if len(parts) != 2:  # noqa: PLR2004 — the curve's name and the point
        return False
    curve, point = parts
    named = algorithm.partition("@")[0].encode().endswith(b"-" + curve)
    return named and len(point) == _POINT_BYTES.get(curve) and point[0] == 4  # noqa: PLR2004 — SEC 1, 2.3.3
