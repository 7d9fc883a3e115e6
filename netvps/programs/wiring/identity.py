"""A runner's identity on disk: its key, generated here and never sent, and the certificate from joining."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from netvps.adapters.ca.client_key import new_key, uri_of, validity
from netvps.domain.access.identity import RunnerIdentity, parse_identity
from netvps.errors import ConfigError, InvalidInput
from netvps.files import write_file

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

FOLDER: Final = "runner"
"""Folder of the runner in the state folder."""
VOLUMES: Final = "volumes"
"""Folder below it with the volumes of each session."""
IDENTITY: Final = f"{FOLDER}/identity"
_KEY: Final = f"{FOLDER}/key"


@dataclass(frozen=True, slots=True)
class Identity:
    """A runner's identity and its server: keys and certificates in PEM, addresses "HOST:PORT"."""

    name: str
    key: str
    certificate: str
    ca_certificate: str
    server: str
    link: str

    @property
    def uid(self) -> str:
        """The uid in the certificate. Raises ConfigError if it is not a runner's."""
        try:
            identity = parse_identity(uri_of(self.certificate))
        except InvalidInput as error:
            raise ConfigError(str(error)) from None
        if not isinstance(identity, RunnerIdentity):
            raise ConfigError(f"the certificate is that of {identity}, not of a runner")
        return identity.uid

    @property
    def renew_at(self) -> datetime:
        """When a third of the certificate's lifetime is left."""
        begin, end = validity(self.certificate)
        return end - (end - begin) / 3

    @property
    def end(self) -> datetime:
        """When the certificate expires."""
        return validity(self.certificate)[1]

    def good(self, now: datetime) -> bool:
        """Whether the certificate is valid at that time."""
        begin, end = validity(self.certificate)
        return begin <= now < end

    def renewed(self, certificate: str) -> Identity:
        """The same runner with a newer certificate."""
        return replace(self, certificate=certificate)


def load_identity(state: Path) -> Identity | None:
    """The identity in a state folder; None before joining. Raises ConfigError if it is damaged."""
    file = state / IDENTITY
    try:
        identity = Identity(**json.loads(file.read_text(encoding="utf-8")))
        identity.uid  # noqa: B018 — raises if the certificate is not a runner's
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise ConfigError(f"{file} cannot be used ({error}): remove it, and join this machine again") from None
    return identity


def save_identity(state: Path, identity: Identity) -> None:
    """Writes it atomically, readable by this account only."""
    _write_private(state / IDENTITY, json.dumps(asdict(identity), indent=1))


def own_key(state: Path) -> str:
    """The key for joining. Stored before it is used, so that a join whose answer was lost can be repeated."""
    file = state / _KEY
    try:
        return file.read_text(encoding="ascii")
    except FileNotFoundError:
        key = new_key()
        _write_private(file, key)
        return key


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_file(file, text.encode())
