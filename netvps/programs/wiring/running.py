"""The settings of a running `netvps up`, and their comparison with those of another start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps import __version__
from netvps.cli.machine.down import held
from netvps.errors import ConfigError
from netvps.programs.wiring.remembered import words
from netvps.settings import secrets_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netvps.settings import Settings


SERVING: Final = "serving"
"""Whether it is ready and not asked to stop."""


def facts(settings: Sequence[Settings]) -> dict[str, object]:
    """The content of a program's pid file: its version, and its settings without secrets."""
    return {"version": __version__, "settings": plain(settings), SERVING: False}


def where(settings: Mapping[str, str]) -> str:
    """The addresses it listens on, and its folder."""
    listen = settings["listen"]
    host = f"[{listen}]" if ":" in listen else listen
    return f"ssh {host}:{settings['ssh_port']}, API {host}:{settings['api_port']}, state {settings['state_dir']}"


@dataclass(frozen=True, slots=True)
class Running:
    """A running `netvps up`."""

    pid: int
    version: str
    settings: Mapping[str, str]

    def describe(self) -> str:
        """Process, addresses and folder: "process 1: ssh 127.0.0.1:2222, API 127.0.0.1:7443, state /var/lib/netvps"."""
        version = "" if self.version == __version__ else f" of version {self.version}, not {__version__}"
        return f"process {self.pid}{version}: {where(self.settings)}"

    def refuse_other(self, flags: Mapping[str, str], settings: Sequence[Settings]) -> None:
        """Raises ConfigError if one of these flags differs from the running settings."""
        asked = plain(settings)
        other = {name: self.settings.get(name, "the default") for name in flags if self._differs(name, asked)}
        if other:
            raise ConfigError(
                f"netvps already runs with {words(other)}: `netvps up {words(flags)} --restart` starts it with the new"
                " flags (sessions keep running)",
                reason="ALREADY_RUNNING",
            )

    def _differs(self, name: str, asked: Mapping[str, str]) -> bool:
        return name in asked and asked[name] != self.settings.get(name)


def find(state: Path) -> Running | None:
    """The running `netvps up` of this state folder; None if there is none, or it is starting or stopping."""
    if not held(state / "up.lock"):
        return None
    try:
        found = json.loads((state / "up.pid").read_text(encoding="utf-8"))
        running = Running(int(found["pid"]), str(found["version"]), dict(found["settings"]))
        where(running.settings)
        serving = found[SERVING] is True
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return running if serving else None


def plain(settings: Sequence[Settings]) -> dict[str, str]:
    """The values of all settings without secrets, as flags; paths are absolute."""
    values: dict[str, str] = {}
    for one in settings:
        folders = {"state_dir": one.paths.state, "runtime_dir": one.paths.runtime}
        for name in type(one).model_fields.keys() - set(secrets_of(type(one))):
            value = folders.get(name, getattr(one, name))
            values[name] = str(value.absolute()) if isinstance(value, Path) else str(value)
    return values
