"""Opens the CA, and creates it at the first start only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from netvps.adapters.ca.authority import Authority
from netvps.adapters.ca.files import Keys, exists, load, save
from netvps.adapters.ca.x509 import make_root
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from netvps.services.ports import Clock


def open_ca(directory: Path, cluster_id: str, clock: Clock, *, trusted: bool = False) -> Authority:
    """Opens the CA in `directory` (0700, keys 0600); creates one if there is none. Blocks for some milliseconds.

    `trusted` says that runners trust its keys already: then it must exist. Raises ConfigError if it cannot be created
    or read, is missing or damaged, is not valid now, or belongs to another cluster.
    """
    name = f"netvps CA {cluster_id}"
    if not exists(directory):
        if trusted:
            raise ConfigError(
                f"CA directory {directory} is missing, and the runners in the database trust its keys; "
                "restore it from the backup of the database"
            )
        save(directory, _new_keys(name, clock()))
    keys = load(directory)
    found = keys.root.subject.rfc4514_string()
    if found != f"CN={name}":
        raise ConfigError(
            f"CA directory {directory} belongs to {found!r}, the database to 'CN={name}'; "
            "restore both from the same backup, or give each server its own directory"
        )
    if clock() >= keys.root.not_valid_after_utc:
        raise ConfigError(
            f"the CA in {directory} expired on {keys.root.not_valid_after_utc:%Y-%m-%d}: check this machine's clock; "
            "or move the directory away for new keys, and let every runner join again"
        )
    if clock() < keys.root.not_valid_before_utc:
        raise ConfigError(
            f"the CA in {directory} is valid from {keys.root.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, which is in the"
            " future: set this machine's clock (timedatectl set-ntp true)"
        )
    return Authority(keys, clock)


def _new_keys(name: str, now: datetime) -> Keys:
    root_key = ec.generate_private_key(ec.SECP256R1())
    return Keys(
        root=make_root(root_key, name, now),
        root_key=root_key,
        ssh_user_ca=Ed25519PrivateKey.generate(),
        ssh_host_ca=Ed25519PrivateKey.generate(),
        ssh_host_key=Ed25519PrivateKey.generate(),
    )
