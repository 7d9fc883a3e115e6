"""netvps as a service of systemd: of the system for root, else of the account's own systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from netvps.cli.machine import systemd_unit
from netvps.cli.ui.output import note
from netvps.config import STATE_VARIABLE
from netvps.errors import ConfigError, TimedOut

RUNNING: Final = Path("/run/systemd/system")
"""Exists where systemd runs the machine (sd_booted(3))."""
SYSTEM_UNITS: Final = Path("/etc/systemd/system")
_SECONDS: Final = 200.0
"""Longer than the unit's own limit for a start."""


def unit_file() -> Path:
    """Where this account's unit is."""
    return (SYSTEM_UNITS if _is_system() else Path.home() / ".config/systemd/user") / systemd_unit.NAME


def installed() -> bool:
    """Whether there is a unit, and a systemd to run it."""
    return unit_file().exists() and RUNNING.exists()


def check(state_dir: str | None = None) -> str:
    """The text of the unit, for this state folder; nothing is written. Raises ConfigError where systemd is no help."""
    if not RUNNING.exists():
        raise ConfigError(
            "--install: systemd does not run on this machine (no /run/systemd/system); start netvps by what runs your"
            " services: `netvps up --foreground`"
        )
    if not _is_system() and not _user_manager().exists():
        raise ConfigError(
            f"--install: no systemd runs for your account: as root, `loginctl enable-linger {_account()}`, then again"
        )
    environment = systemd_unit.lasting(os.environ)
    if state_dir is not None:
        environment[STATE_VARIABLE] = str(Path(state_dir).absolute())
    return systemd_unit.render(program(), environment, system=_is_system())


def write(unit: str) -> None:
    """Writes the unit, and has it started at each boot."""
    file = unit_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(unit, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}; see to its folder, then again") from None
    systemctl("daemon-reload")
    systemctl("enable", systemd_unit.NAME)
    note(f"systemd starts netvps at each boot: {file}; `netvps down --uninstall` removes it")
    if not _is_system() and not Path("/var/lib/systemd/linger", _account()).exists():
        note(f"without a login it starts only after: loginctl enable-linger {_account()}")


def start() -> None:
    """Starts the unit, and waits until it serves."""
    systemctl("start", systemd_unit.NAME)
    note(f"systemd keeps it running: systemctl{'' if _is_system() else ' --user'} status netvps")


def active() -> bool:
    """Whether systemd runs it now."""
    return _run("is-active", "--quiet", systemd_unit.NAME).returncode == 0


def uninstall() -> None:
    """Ends the service, and removes its unit."""
    file = unit_file()
    if not file.exists():
        note(f"nothing to uninstall: there is no {file}")
        return
    remove(file)
    note(f"removed {file}: netvps starts at boot no more")


def remove(file: Path) -> None:
    """Ends the service of a unit, and removes the unit."""
    if RUNNING.exists():
        systemctl("disable", "--now", file.name)
    file.unlink()
    if RUNNING.exists():
        systemctl("daemon-reload")


def _is_system() -> bool:
    return os.geteuid() == 0


def _account() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _user_manager() -> Path:
    """The runtime folder of the account, where its systemd listens; `su` and cron leave XDG_RUNTIME_DIR unset."""
    return Path(f"/run/user/{os.geteuid()}")


def program() -> str:
    """The `netvps` on the PATH, if that is this one: the path that an update keeps. Else this one's own."""
    own = Path(sys.prefix) / "bin/netvps"
    found = shutil.which("netvps")
    return found if found and Path(found).resolve() == own.resolve() else str(own)


def systemctl(*words: str) -> None:
    """Runs systemctl. Raises ConfigError with the first line of its complaint."""
    answer = _run(*words)
    if answer.returncode:
        complaint = next(iter(answer.stderr.strip().splitlines()), f"exit code {answer.returncode}")
        log = f"journalctl{'' if _is_system() else ' --user'} -u netvps -n 20"
        raise ConfigError(f"systemctl {' '.join(words)} failed: {complaint}; `{log}` says more")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    scope = [] if _is_system() else ["--user"]
    environ = os.environ | ({} if _is_system() else {"XDG_RUNTIME_DIR": str(_user_manager())})
    try:
        return subprocess.run(
            ["systemctl", *scope, *words],  # noqa: S607 — that of the PATH
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env=environ,
        )
    except OSError as error:
        raise ConfigError(f"cannot run systemctl: {error.strerror}; is systemd installed?") from None
    except subprocess.TimeoutExpired:
        raise TimedOut(f"systemctl {' '.join(words)} did not end within {_SECONDS:.0f} s") from None
