"""Logins to registries: a user and a password or token for each host, which runners pull with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final

from netvps.domain.checks import Checks
from netvps.domain.image.reference import check_registry

USERNAME_MAX: Final = 255
PASSWORD_MAX: Final = 8192
"""Characters; tokens of clouds have some thousand."""


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """A login as stored. The password is sealed, and given to runners that pull, only."""

    kind: ClassVar[str] = "registry_login"

    host: str
    """HOST[:PORT]."""
    username: str
    sealed: str = field(repr=False)
    create_time: datetime
    update_time: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.host


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and a password or token, for one registry."""

    host: str
    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Raises InvalidInput, which never shows the password."""
        checks = Checks()
        with checks.nested():
            check_registry(self.host)
        given = 0 < len(self.username) <= USERNAME_MAX and self.username.isprintable()
        checks.require(given, "username", f"it is not 1 to {USERNAME_MAX} printable characters")
        given = 0 < len(self.password) <= PASSWORD_MAX and self.password.isprintable()
        checks.require(given, "password", f"it is not 1 to {PASSWORD_MAX} printable characters")
        checks.done()
