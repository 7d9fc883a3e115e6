"""Contexts: the servers that this person knows, each with its CA and API key in a file only they can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.names import check_label
from netvps.errors import ConfigError, NotFound
from netvps.files import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable

LOCAL: Final = "local"
ENVIRONMENT: Final = "environment"
"""The context of environment variables, for CI and scheduled jobs: nothing of it is stored on the machine."""
_ADDRESS, _KEY, _KEY_FILE, _CA = "NETVPS_ADDRESS", "NETVPS_API_KEY", "NETVPS_API_KEY_FILE", "NETVPS_CA"
_PORT: Final = "7443"
_NAME_MAX: Final = 63
SYSTEM_SOCKET: Final = Path("/run/netvps/api.sock")


@dataclass(frozen=True, slots=True)
class Context:
    """A server: its address ("unix:/…sock" or "HOST:PORT"), its CA as PEM, and the API key; None for a socket."""

    name: str
    address: str
    ca_certificate: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The host that serves the API, without brackets."""
        if self.address.startswith("unix:"):
            return "127.0.0.1"
        return self.address.rpartition(":")[0].strip("[]")


def config_folder() -> Path:
    """Where this person's settings are (NETVPS_CONFIG_DIR, XDG_CONFIG_HOME)."""
    if named := os.environ.get("NETVPS_CONFIG_DIR"):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "netvps"


def resolve(name: str | None = None) -> Context:
    """The context in force: given, of NETVPS_CONTEXT or NETVPS_ADDRESS, or chosen. Raises NotFound, ConfigError."""
    name = name or os.environ.get("NETVPS_CONTEXT")
    if not name and (named := _from_environment(_load(stored) for stored in names() if stored != LOCAL)):
        return named
    name = name or chosen()
    return local() if name == LOCAL else _load(name)


def local() -> Context:
    """The server of this machine: the account's own socket, else the system's.

    Whoever names folders by environment means the server in them, also while it does not run: never another one.
    """
    from netvps.config import RUNTIME_VARIABLE, STATE_VARIABLE, paths

    if given := os.environ.get("NETVPS_SOCKET"):
        return Context(LOCAL, f"unix:{Path(given).absolute()}")
    own = paths().api_socket
    named = os.environ.get(STATE_VARIABLE) or os.environ.get(RUNTIME_VARIABLE)
    fallback = not named and not own.exists() and SYSTEM_SOCKET.exists()
    return Context(LOCAL, f"unix:{SYSTEM_SOCKET if fallback else own}")


def chosen() -> str:
    """The name that `context use` or `login` wrote down last."""
    try:
        return (config_folder() / "current").read_text(encoding="utf-8").strip() or LOCAL
    except FileNotFoundError:
        return LOCAL
    except OSError as error:
        raise ConfigError(f"{config_folder() / 'current'} cannot be read: {error.strerror}") from None


def names() -> list[str]:
    """All contexts, the local one first."""
    return [LOCAL, *sorted(file.stem for file in (config_folder() / "contexts").glob("*.json"))]


def use(name: str) -> None:
    """Makes a context the default. Raises NotFound."""
    if name not in names():
        raise _unknown(name)
    write_private(config_folder() / "current", f"{name}\n")


def save(context: Context) -> None:
    """Writes a context down, for its owner's eyes only; an older one of that name is replaced. Raises ConfigError."""
    check(context)
    write_private(_file(context.name), json.dumps(asdict(context), indent=2) + "\n")


def check(context: Context) -> None:
    """Raises ConfigError or InvalidInput if a context cannot be saved under its name."""
    if context.name in {LOCAL, ENVIRONMENT}:
        what = "this machine" if context.name == LOCAL else "what NETVPS_ADDRESS names"
        raise ConfigError(f"context {context.name!r} is always {what}: choose another --name")
    check_label(context.name, "--name", _NAME_MAX)


def forget(name: str) -> None:
    """Removes a context; if it was the chosen one, the local one is chosen. Raises NotFound, ConfigError."""
    if name == LOCAL:
        raise ConfigError(
            f"context {LOCAL!r} is this machine and cannot be forgotten; nothing of yours is stored for it"
        )
    if name not in names():
        raise _unknown(name)
    for file in (_file(name), known_hosts(name), agent_key_file(name), certificate_file(name)):
        file.unlink(missing_ok=True)
    if chosen() == name:
        (config_folder() / "current").unlink(missing_ok=True)


def known_hosts(name: str) -> Path:
    """The file with the host key of a context's gateway."""
    return config_folder() / f"known_hosts_{name}"


def agent_key_file(name: str) -> Path:
    """The file with the public half of a key of the ssh-agent that a context's server knows."""
    return config_folder() / f"agent_key_{name}.pub"


def certificate_file(name: str) -> Path:
    """The file with the SSH certificate that a context's server issued last."""
    return config_folder() / f"certificate_{name}-cert.pub"


def write_known_hosts(name: str, line: str) -> Path:
    """Writes that file, if it does not say so already."""
    file = known_hosts(name)
    if not file.exists() or file.read_text(encoding="utf-8") != line:
        write_private(file, line)
    return file


def write_agent_key(name: str, line: str) -> Path:
    """Writes the public half of a key of the ssh-agent, so that ssh can offer that one."""
    file = agent_key_file(name)
    write_private(file, line)
    return file


def _file(name: str) -> Path:
    return config_folder() / "contexts" / f"{name}.json"


def _load(name: str) -> Context:
    if name not in names():
        raise _unknown(name)
    try:
        return Context(**json.loads(_file(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"context {name!r} ({_file(name)}) cannot be read: {error}; `netvps login HOST` writes it again"
        ) from None


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no context {name!r}: there are {', '.join(names())}; `netvps login HOST` adds one")


def write_private(file: Path, text: str) -> None:
    """Replaces a file as a whole; folder 0700, file 0600."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        write_file(file, text.encode())
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror}; make its folder writable, or set NETVPS_CONFIG_DIR"
        ) from None


def _from_environment(stored: Iterable[Context]) -> Context | None:
    """The context of NETVPS_ADDRESS, NETVPS_API_KEY and NETVPS_CA; None without them.

    Without NETVPS_CA, a stored context of that address vouches for the server. Raises ConfigError.
    """
    address = os.environ.get(_ADDRESS, "")
    if not address:
        for name in (_KEY, _KEY_FILE, _CA):
            if os.environ.get(name):
                raise ConfigError(f"{name} is set, and {_ADDRESS} is not: set it to HOST:{_PORT}, or unset {name}")
        return None
    if address.startswith("unix:"):
        return Context(ENVIRONMENT, address)
    address = address if address.rpartition(":")[2].isdigit() and not address.endswith("]") else f"{address}:{_PORT}"
    return Context(ENVIRONMENT, address, _ca(address, stored), _api_key())


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
    text = _read_named(_CA, file)
    if not text.startswith("-----BEGIN CERTIFICATE-----"):
        raise ConfigError(
            f"{_CA}: {file} is no certificate in PEM form: `netvps context show --ca` prints the right one"
        )
    return text


def _api_key() -> str:
    key, file = os.environ.get(_KEY, ""), os.environ.get(_KEY_FILE, "")
    if key and file:
        raise ConfigError(f"{_KEY} and {_KEY_FILE} are both set: keep one")
    key = (_read_named(_KEY_FILE, file) if file else key).strip()
    if not key.startswith("nv_") or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"{_ADDRESS} is set, and {_KEY} or {_KEY_FILE} holds no API key: it begins with nv_; `netvps user api-key`"
            " on the server makes one"
        )
    return key


def _read_named(variable: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").lstrip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{variable}: {file} cannot be read: {why}; give a file that this account may read") from None
