"""The folders of netvps on a machine. Standard library only, because every command of the CLI imports this module."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_VARIABLE = "NETVPS_STATE_DIR"
RUNTIME_VARIABLE = "NETVPS_RUNTIME_DIR"
REMEMBERED = "up.json"
"""File in the state folder that stores the flags of `netvps up`."""
_SOCKET_PATH_MAX = 107  # sun_path of unix(7), without its NUL
_LONGEST_SOCKET = "agents/0123456789abc/gateway.sock"  # the longest socket path below the runtime folder


@dataclass(frozen=True, slots=True)
class Paths:
    """The two folders of netvps. `state` must persist across reboots, `runtime` need not."""

    state: Path
    runtime: Path

    @property
    def api_socket(self) -> Path:
        """The Unix socket of the API, for users of this machine."""
        return self.runtime / "api.sock"

    @property
    def gateway_socket(self) -> Path:
        """The Unix socket between the server and its gateway process, in a folder that only this account can enter."""
        return self.runtime / ".gateway" / "control.sock"

    def web_socket(self, port: int) -> Path:
        """The Unix socket by which `netvps web --open` asks the `netvps web` that serves a port for a link."""
        return self.runtime / f"web-{port}.sock"

    def prepare(self) -> None:
        """Makes both folders: `state` for this account only, `runtime` traversable so that others reach the socket.

        Raises ConfigError if one cannot be made or written.
        """
        if len(os.fsencode(self.runtime / _LONGEST_SOCKET)) > _SOCKET_PATH_MAX:
            raise ConfigError(
                f"runtime folder {self.runtime} has too long a path for a Unix socket in it: set {RUNTIME_VARIABLE}"
                " to a shorter one"
            )
        _make(self.state, 0o700, STATE_VARIABLE)
        _make(self.runtime, 0o755, RUNTIME_VARIABLE)


def paths(
    state: str | os.PathLike[str] | None = None,
    runtime: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    uid: int | None = None,
) -> Paths:
    """The folders in effect: the arguments, else the environment, else the defaults of the system (root) or the user.

    The runtime folder may also be the one of the last `netvps up --runtime-dir` with this state folder. Raises
    ConfigError if the fallback under /tmp belongs to another account.
    """
    environ = os.environ if environ is None else environ
    uid = os.geteuid() if uid is None else uid
    state = Path(state or environ.get(STATE_VARIABLE) or _default_state(environ, uid)).absolute()
    runtime = runtime or environ.get(RUNTIME_VARIABLE) or _remembered_runtime(state) or _default_runtime(uid)
    return Paths(state, Path(runtime).absolute())


def remembered_flags(state: Path) -> dict[str, str]:
    """The flags of earlier starts of `netvps up` with this state folder; empty if their file cannot be read."""
    try:
        text = (state / REMEMBERED).read_text(encoding="utf-8")
    except OSError:
        return {}
    import json  # imported only if the file exists, because every command of the CLI calls this

    try:
        flags = json.loads(text)["flags"]
        return {str(name): str(value) for name, value in flags.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{state / REMEMBERED} is damaged: `netvps up --reset-flags` removes it, then give your flags again"
        ) from None


def _remembered_runtime(state: Path) -> str | None:
    return remembered_flags(state).get("runtime_dir")


def _default_state(environ: Mapping[str, str], uid: int) -> Path:
    if uid == 0:
        return Path("/var/lib/netvps")
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "netvps"


def _default_runtime(uid: int) -> Path:
    """One folder per account. Not XDG_RUNTIME_DIR: cron and `su` do not set it, and it is removed at logout."""
    if uid == 0:
        return Path("/run/netvps")
    own = Path.home() / ".local/state/netvps/run"
    if len(os.fsencode(own / _LONGEST_SOCKET)) <= _SOCKET_PATH_MAX:
        return own
    fallback = Path(f"/tmp/netvps-{uid}")  # noqa: S108 — its owner is checked
    _require_own(fallback, uid)
    return fallback


def _require_own(folder: Path, uid: int) -> None:
    """Raises ConfigError if the folder belongs to another account, which could listen on a socket in it."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise ConfigError(
            f"{folder} is not a folder that only you can write to: another account made it; set {RUNTIME_VARIABLE} to"
            " a folder of yours"
        )


def _make(folder: Path, mode: int, variable: str) -> None:
    try:
        if not folder.is_dir():
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            folder.chmod(mode)  # independent of the umask
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot make folder {folder}: {reason}; set {variable} to a writable one") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"folder {folder} is not writable: set {variable} to a writable one, or fix its owner")
