"""What `netvps doctor` looks at on the machine of a server and its runner, whether they run or not."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from netvps.config import remembered_flags
from netvps.domain.finding import Finding, Severity
from netvps.errors import ConfigError, NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.settings import ServerSettings

T = TypeVar("T")
_SECONDS: Final = 2.0
_SYSTEMD: Final = Path("/run/systemd/system")
_PRIMARY: Final = 0xFF  # an extended result code of SQLite has the primary one in its low byte
_UNREADABLE: Final = {
    sqlite3.SQLITE_BUSY: "end the program that has locked it",
    sqlite3.SQLITE_LOCKED: "end the program that has locked it",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR_SHMSIZE: "make room on its disk",
    sqlite3.SQLITE_IOERR: "see the kernel's log (dmesg) for what is wrong with the disk",
}
_UNSURE: Final = "see to the permissions of its folder and to free space on its disk; the file itself may be whole"
_DOCKER_SOCKET: Final = "/var/run/docker.sock"
_DOCKER_ROOT: Final = "/var/lib/docker"
_GIB: Final = 1 << 30
_DISK_WARN, _DISK_FAIL = 5 * _GIB, 1 * _GIB
_FILES_FAIL: Final = 10_000
_PORTS: Final = {
    "ssh_port": "SSH gateway",
    "api_port": "API",
    "link_port": "runners and agents",
    "http_port": "health over HTTP",
    "apps_port": "URLs of sessions",
}
_RENEWED_BY: Final = 4
"""A certificate is renewed when a third of its life is left; with a quarter left, something is wrong."""


def settings_in_force(state: Path) -> ServerSettings:
    """Those of the server that runs on `state`, if one does, by its own command line; else those of the next start.

    Raises ConfigError if they are wrong.
    """
    from netvps.settings import ServerSettings, load

    process = _process(state / "server.lock", "netvps.programs.server")
    flags = {name.replace("-", "_"): value for name, value in _flags(process).items()}
    known = {name: flags[name] for name in flags.keys() & ServerSettings.model_fields.keys()}
    return load(ServerSettings, known, remembered={} if process else remembered_flags(state))


def _process(lock: Path, program: str) -> Path | None:
    """Below /proc, the program that holds a lock; None if none does: its number may be another's by now."""
    try:
        process = Path(f"/proc/{int(lock.read_text())}")
    except (OSError, ValueError):
        return None
    return process if program in _words(process, "cmdline") else None


def _words(process: Path, file: str) -> list[str]:
    try:
        return (process / file).read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def docker_host(state: Path) -> str:
    """Docker's socket as the runner that runs on `state` uses it; if none does, as one would that is started from here.

    Raises ConfigError if the settings are wrong.
    """
    from netvps.settings import RunnerSettings, load

    process = _process(state / "runner/lock", "netvps.programs.runner")
    flags = _flags(process)
    environment = dict(word.split("=", 1) for word in _words(process, "environ") if "=" in word) if process else {}
    surroundings = environment or dict(os.environ)
    named = flags.get("docker-host") or surroundings.get("NETVPS_DOCKER_HOST")
    if not named and not process:
        named = remembered_flags(state).get("docker_host")
    if not named and (file := flags.get("config") or surroundings.get("NETVPS_CONFIG")):
        named = load(RunnerSettings, {}, Path(file)).docker_host
    return named or surroundings.get("DOCKER_HOST") or f"unix://{_DOCKER_SOCKET}"


def runs_no_sessions(state: Path) -> bool:
    """Whether the runner that runs on `state` only joins this machine to the overlay. Raises ConfigError."""
    from netvps.settings import RunnerSettings, load

    process = _process(state / "runner/lock", "netvps.programs.runner")
    if process is None:
        return False
    flags = _flags(process)
    environment = dict(word.split("=", 1) for word in _words(process, "environ") if "=" in word)
    given = {"no_sessions": flags["no-sessions"] or "true"} if "no-sessions" in flags else {}
    if not given and "NETVPS_NO_SESSIONS" in environment:
        given = {"no_sessions": environment["NETVPS_NO_SESSIONS"]}
    file = flags.get("config") or environment.get("NETVPS_CONFIG")
    return load(RunnerSettings, given, Path(file) if file else None).no_sessions


def _flags(process: Path | None) -> dict[str, str]:
    """The flags on the command line of a process, without dashes; "" for one that stands alone."""
    found: dict[str, str] = {}
    for word, following in pairwise((*_words(process, "cmdline"), "")) if process else ():
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else "" if following.startswith("--") else following
    return found


def engine(host: str) -> Finding:
    """Whether Docker answers there, and is new enough."""
    if not host.startswith("unix://"):
        return Finding(Severity.WARN, "engine", f"Docker is at {host}, which is not checked from here")
    try:
        version = _asked(host, lambda api: api.version(api_version=False)["ApiVersion"])
    except NetvpsError as error:
        text, _, remedy = error.message.partition("; ")
        return Finding(Severity.FAIL, "engine", text, remedy or "look at its log (journalctl -u docker)")
    return Finding(Severity.OK, "engine", f"Docker at {host.removeprefix('unix://')} answers, API {version}")


def docker_root(host: str) -> Path:
    """Where Docker keeps images and containers; where it does by default, if it does not say."""
    try:
        return Path(_asked(host, lambda api: api.info()["DockerRootDir"]))
    except (NetvpsError, KeyError, TypeError):
        return Path(_DOCKER_ROOT)


def _asked(host: str, question: Callable[[Any], T]) -> T:
    """The engine's answer. Raises DockerError."""
    from netvps.adapters.docker.client import ask

    return ask(host, question, _SECONDS)


def disk(*folders: Path) -> list[Finding]:
    """Room where Docker and netvps keep things: bytes, and files that can still be made. One for each file system."""
    found: dict[int, Finding] = {}
    for wanted in folders:
        place = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
        try:
            space, device = os.statvfs(place), place.stat().st_dev
        except OSError:
            continue
        found.setdefault(device, _room(wanted, space))
    return list(found.values())


def _room(wanted: Path, space: os.statvfs_result) -> Finding:
    from netvps.display.units import size_words

    remedy = (
        "make room: remove files that are no part of netvps, or sessions that their owners gave up (`netvps rm NAME`);"
        " not by `docker system prune` or `docker volume prune`, which remove what stopped sessions are made of"
    )
    free = space.f_bavail * space.f_frsize
    if space.f_files and space.f_favail < _FILES_FAIL:
        return Finding(Severity.FAIL, "disk", f"only {space.f_favail} more files fit at {wanted}", remedy)
    severity = Severity.FAIL if free < _DISK_FAIL else Severity.WARN if free < _DISK_WARN else Severity.OK
    return Finding(severity, "disk", f"{size_words(free)} free at {wanted}", "" if severity is Severity.OK else remedy)


def disk_limits(host: str) -> Finding:
    """Whether Docker can limit the disk of a session."""
    from netvps.adapters.docker.storage import why_no_limits

    try:
        why = why_no_limits(_asked(host, lambda api: api.info()))
    except NetvpsError as error:
        return Finding(Severity.WARN, "disk limits", f"unknown: {error.message}")
    return Finding(Severity.OK, "disk limits", f"none: {why}" if why else "Docker can limit the disk of a session")


def gpus() -> Finding:
    """The GPUs that sessions can have."""
    from netvps.adapters.nvml import NvmlGpus

    found, problem = asyncio.run(NvmlGpus().read())
    text = ", ".join(f"{gpu.id} ({gpu.name})" for gpu in found or ()) or "none"
    wrong = found is None or bool(found and problem)
    text += f": {problem}" if problem else ""
    return Finding(Severity.WARN if wrong else Severity.OK, "gpus", text)


def lxcfs() -> Finding:
    """Whether sessions see their own limits and load in /proc."""
    from netvps.adapters.lxcfs import MOUNT, lxcfs_files

    if lxcfs_files():
        return Finding(Severity.OK, "lxcfs", f"mounted at {MOUNT}: new sessions see their own memory and load in /proc")
    text = "not mounted: sessions see the memory and load of the machine in /proc (free, top, uptime)"
    return Finding(Severity.OK, "lxcfs", text, "to change that: apt-get install lxcfs (optional)")


def ports(settings: ServerSettings, *, serving: bool) -> list[Finding]:
    """Whether our ports are served (when netvps runs here), or free for it."""
    host, apps = _reached(settings.listen), _reached(settings.apps_listen)
    return [
        _port(apps if name == "apps_port" else host, int(getattr(settings, name)), use, serving=serving)
        for name, use in _PORTS.items()
    ]


def _reached(listen: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)  # noqa: S104 — compared, not listened on


def _port(host: str, port: int, use: str, *, serving: bool) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        open_ = probe.connect_ex((host, port)) == 0
    name = f"port {port}"
    match serving, open_:
        case True, True:
            return Finding(Severity.OK, name, f"{use}: listening")
        case True, False:
            return Finding(Severity.FAIL, name, f"{use}: no program listens at {host}", "look at the server's log")
        case False, True:
            remedy = f"see who it is (ss -ltnp 'sport = :{port}'), or choose another port"
            return Finding(Severity.WARN, name, f"{use}: taken by another program", remedy)
        case _:
            return Finding(Severity.OK, name, f"{use}: free")


def database(settings: ServerSettings, *, serving: bool) -> Finding:
    """Whether the server reads its database; or, where none runs, whether the file is whole and ours to write."""
    if serving:
        return _ready(_reached(settings.listen), settings.http_port)
    prefix, _, path = settings.database.partition("sqlite:///")
    if prefix or not path:
        return Finding(Severity.WARN, "database", "only a server that runs can ask it", "start the server")
    return _sqlite(Path(path))


def _ready(host: str, port: int) -> Finding:
    connection = http.client.HTTPConnection(host, port, timeout=2 * _SECONDS)  # the server gives its checks two seconds
    try:
        with closing(connection):
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            said = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        remedy = "look at the server's log"
        return Finding(Severity.WARN, "database", f"the server does not say at {host}:{port}: {error}", remedy)
    if answer.status != http.client.OK:
        remedy = "look at the server's log, and at the disk or the database server"
        return Finding(Severity.FAIL, "database", f"the server cannot use it ({said})", remedy)
    return Finding(Severity.OK, "database", "the server reads it")


def _sqlite(file: Path) -> Finding:
    damaged = "restore a backup: `netvps restore FILE --yes`; it moves the present files aside"
    if not file.exists():
        return Finding(Severity.OK, "database", f"{file} is made at the first start")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as opened:
            said = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        whole = code & _PRIMARY not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        remedy = _UNREADABLE.get(code, _UNREADABLE.get(code & _PRIMARY, _UNSURE)) if whole else damaged
        return Finding(Severity.FAIL, "database", f"{file} cannot be read: {error}", remedy)
    if said != "ok":
        return Finding(Severity.FAIL, "database", f"{file} is damaged: {said}", damaged)
    if not os.access(file, os.W_OK):
        return Finding(
            Severity.FAIL, "database", f"{file} is not yours to write", "correct its owner, or run as that user"
        )
    return Finding(Severity.OK, "database", f"{file} is whole")


def runner_certificate(state: Path, now: datetime | None = None) -> list[Finding]:
    """Whether this machine's runner, if it has joined, has a certificate that is good, and is renewed."""
    from netvps.adapters.ca.client_key import validity

    now = now or datetime.now(UTC)
    try:
        pem = json.loads((state / "runner/identity").read_text(encoding="utf-8"))["certificate"]
        begin, end = validity(pem)
    except FileNotFoundError:
        return []
    except PermissionError:
        return [Finding(Severity.WARN, "certificates", "the runner's is not yours to read", "run doctor as its user")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        remedy = (
            f"put {state / 'runner/identity'} back from a backup of this machine; without one, move it elsewhere and"
            " join again (`netvps runner join-token`), as a new runner without the sessions of this one"
        )
        return [Finding(Severity.FAIL, "certificates", "the runner's cannot be read", remedy)]
    dates = f"the runner's is good from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    if not begin <= now < end:
        remedy = "check the clock; then start the runner with a new token (netvps runner join-token)"
        return [Finding(Severity.FAIL, "certificates", f"{dates}, and not now", remedy)]
    if end - now < (end - begin) / _RENEWED_BY:
        remedy = "see in the runner's log why it is not renewed"
        return [Finding(Severity.WARN, "certificates", f"{dates}: it should have been renewed", remedy)]
    return [Finding(Severity.OK, "certificates", dates)]


def agent(folder: Path | None = None) -> Finding:
    """Whether the agent for this machine's kind of processor is there, and runs."""
    from netvps.process.agent_program import agent_program

    named = os.environ.get("NETVPS_AGENT_DIR")
    try:
        file = agent_program(folder or (Path(named) if named else None))
    except ConfigError as error:
        text, _, remedy = error.message.partition(": ")
        return Finding(Severity.FAIL, "agent", text, remedy)
    if not os.access(file, os.X_OK):
        return Finding(Severity.WARN, "agent", f"{file} is not executable", f"chmod +x {file}")
    try:
        ran = subprocess.run([file, "version"], capture_output=True, text=True, timeout=5 * _SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        remedy = "install netvps again, with Go on PATH to build it"
        return Finding(Severity.FAIL, "agent", f"{file} does not run: {error}", remedy)
    return Finding(Severity.OK, "agent", f"{file.name}, version {ran.stdout.strip()[:40]}")
