"""Secrets that are shown once: generated here, stored as a hash, and parsed when presented."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Credential, digest

if TYPE_CHECKING:
    from datetime import datetime, timedelta

API, JOIN, BOOT, INVITE = "api", "join", "boot", "invite"
_PREFIX: Final = {API: "nv", JOIN: "nvj", BOOT: "nvb", INVITE: "nvi"}
_PINNED: Final = frozenset({JOIN, INVITE})
"""Purposes whose tokens contain the fingerprint of the CA: they are used before the server is known."""
_KID_BYTES, _SECRET_BYTES = 6, 32
_TOKEN = re.compile(
    r"(?P<prefix>nv[jbi]?)_(?P<kid>[0-9a-f]{12})_(?P<secret>[0-9a-f]{64})(_(?P<fingerprint>[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A parsed token; a join token and an invitation also contain the fingerprint of the CA."""

    purpose: str
    kid: str
    secret: str
    fingerprint: str = ""

    def __str__(self) -> str:
        parts = (_PREFIX[self.purpose], self.kid, self.secret, self.fingerprint)
        return "_".join(part for part in parts if part)

    @property
    def secret_sha256(self) -> str:
        """What is stored of it."""
        return digest(self.secret)

    def __repr__(self) -> str:
        return f"Token({self.purpose}, {self.kid})"

    @classmethod
    def parse(cls, text: str, purpose: str) -> Token | None:
        """Parses "PREFIX_KID_SECRET[_FINGERPRINT]"; None if it is no token for that purpose."""
        match = _TOKEN.fullmatch(text.strip())
        if match is None or match["prefix"] != _PREFIX[purpose] or (purpose in _PINNED) != bool(match["fingerprint"]):
            return None
        return cls(purpose, match["kid"], match["secret"], match["fingerprint"] or "")


def new_token(purpose: str, fingerprint: str = "") -> Token:
    """Generates a token with 256 random bits."""
    return Token(purpose, secrets.token_hex(_KID_BYTES), secrets.token_hex(_SECRET_BYTES), fingerprint)


def mint(
    purpose: str, subject: str, now: datetime, life: timedelta | None = None, *, fingerprint: str = "", title: str = ""
) -> tuple[Credential, str]:
    """Generates a credential and its token; without `life` it does not expire."""
    token = new_token(purpose, fingerprint)
    credential = Credential(
        kid=token.kid,
        purpose=purpose,
        subject=subject,
        secret_sha256=token.secret_sha256,
        create_time=now,
        expire_time=None if life is None else now + life,
        title=title,
    )
    return credential, str(token)
