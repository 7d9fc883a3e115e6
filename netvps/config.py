"""Where netvps keeps its things on a machine. Standard library only: every command of the CLI passes here."""

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
"""The file in the state folder that keeps the flags of `netvps up`."""
_SOCKET_PATH_MAX = 107  # sun_path of unix(7), less its NUL
_LONGEST_SOCKET = "agents/0123456789abc/gateway.sock"  # the longest that a program makes below the runtime folder


@dataclass(frozen=True, slots=True)
class Paths:
    """The two folders of netvps: `state` outlives a reboot, `runtime` need not."""

    state: Path
    runtime: Path

    @property
    def api_socket(self) -> Path:
        """The Unix socket of the API, for users of this machine."""
        return self.runtime / "api.sock"

    @property
    def gateway_socket(self) -> Path:
        """The Unix socket at which the server answers its gateway process, in a folder for us alone."""
        return self.runtime / ".gateway" / "control.sock"

    def prepare(self) -> None:
        """Makes both folders: `state` for us alone, `runtime` to be passed through on the way to the socket.

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
    """The folders in force: as given, else of the environment, else those of the system (root) or of the user.

    The runtime folder may also be the one that the last `netvps up --runtime-dir` on this state folder had.
    Raises ConfigError if the fallback under /tmp belongs to another account.
    """
    environ = os.environ if environ is None else environ
    uid = os.geteuid() if uid is None else uid
    state = Path(state or environ.get(STATE_VARIABLE) or _default_state(environ, uid)).absolute()
    runtime = runtime or environ.get(RUNTIME_VARIABLE) or _remembered_runtime(state) or _default_runtime(uid)
    return Paths(state, Path(runtime).absolute())


def remembered_flags(state: Path) -> dict[str, str]:
    """The flags that earlier starts of `netvps up` on this state folder had; none if their file cannot be read."""
    try:
        text = (state / REMEMBERED).read_text(encoding="utf-8")
    except OSError:
        return {}
    import json  # only where there is such a file: each command of the CLI comes by here

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
    """One place for an account: not XDG_RUNTIME_DIR, which cron and `su` do not set, and which ends with a login."""
    if uid == 0:
        return Path("/run/netvps")
    own = Path.home() / ".local/state/netvps/run"
    if len(os.fsencode(own / _LONGEST_SOCKET)) <= _SOCKET_PATH_MAX:
        return own
    fallback = Path(f"/tmp/netvps-{uid}")  # noqa: S108 — its owner is checked
    _require_own(fallback, uid)
    return fallback


def _require_own(folder: Path, uid: int) -> None:
    """Anybody can make a folder in /tmp before us, and a socket in it that listens to what we say."""
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
            folder.chmod(mode)  # whatever the umask says
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot make folder {folder}: {reason}; set {variable} to one that you can write") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"folder {folder} is not writable for you: set {variable} to one that is, or correct its owner"
        )
