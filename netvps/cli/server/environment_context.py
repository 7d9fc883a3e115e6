"""The server that environment variables name, for CI and scheduled jobs: nothing is stored on the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.cli.server.contexts import Context

NAME: Final = "environment"
_ADDRESS, _KEY, _KEY_FILE, _CA = "NETVPS_ADDRESS", "NETVPS_API_KEY", "NETVPS_API_KEY_FILE", "NETVPS_CA"
_PORT: Final = "7443"


def from_environment(stored: Iterable[Context]) -> Context | None:
    """The context of NETVPS_ADDRESS, NETVPS_API_KEY and NETVPS_CA; None without them.

    Without NETVPS_CA, a stored context of that address vouches for the server. Raises ConfigError.
    """
    from netvps.cli.server.contexts import Context

    address = os.environ.get(_ADDRESS, "")
    if not address:
        for name in (_KEY, _KEY_FILE, _CA):
            if os.environ.get(name):
                raise ConfigError(f"{name} is set, and {_ADDRESS} is not: set it to HOST:{_PORT}, or unset {name}")
        return None
    if address.startswith("unix:"):
        return Context(NAME, address)
    address = address if address.rpartition(":")[2].isdigit() and not address.endswith("]") else f"{address}:{_PORT}"
    return Context(NAME, address, _ca(address, stored), _api_key())


def _ca(address: str, stored: Iterable[Context]) -> str:
    if file := os.environ.get(_CA):
        return _certificate(file)
    found = next((context.ca_certificate for context in stored if context.address == address), None)
    if found is None:
        raise ConfigError(
            f"{_CA} is not set, and no context knows the CA of {address}: set it to a file with that certificate; where"
            " you are logged in, `netvps context show --ca` prints it"
        )
    return found


def _certificate(file: str) -> str:
    text = _read(_CA, file)
    if not text.startswith("-----BEGIN CERTIFICATE-----"):
        raise ConfigError(
            f"{_CA}: {file} is no certificate in PEM form: `netvps context show --ca` prints the right one"
        )
    return text


def _api_key() -> str:
    key, file = os.environ.get(_KEY, ""), os.environ.get(_KEY_FILE, "")
    if key and file:
        raise ConfigError(f"{_KEY} and {_KEY_FILE} are both set: keep one")
    key = (_read(_KEY_FILE, file) if file else key).strip()
    if not key.startswith("nv_") or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"{_ADDRESS} is set, and {_KEY} or {_KEY_FILE} holds no API key: it begins with nv_; `netvps user api-key`"
            " on the server makes one"
        )
    return key


def _read(variable: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").lstrip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{variable}: {file} cannot be read: {why}; give a file that this account may read") from None
