"""What `netvps doctor` looks at on the machine of a server and its runner, whether they run or not."""

from __future__ import annotations

import http.client
import json
import os
import platform
import re
import socket
import sqlite3
import ssl
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.cli.doctor.finding import Finding, Verdict
from netvps.config import remembered_flags

if TYPE_CHECKING:
    from netvps.settings import ServerSettings

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
_OLDEST_API: Final = (1, 40)
_GIB: Final = 1 << 30
_DISK_WARN, _DISK_FAIL = 5 * _GIB, 1 * _GIB
_FILES_FAIL: Final = 10_000
_PORTS: Final = {
    "ssh_port": "SSH gateway",
    "api_port": "API",
    "link_port": "runners and agents",
    "http_port": "health over HTTP",
}
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
# The two times of a certificate's validity (RFC 5280: UTCTime up to 2049, then GeneralizedTime) are all of their kind
# that stand side by side.
_VALIDITY: Final = re.compile(rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)")
_RENEWED_BY: Final = 4
"""A certificate is renewed when a third of its life is left; with a quarter left, something is wrong."""


def settings_in_force(state: Path) -> ServerSettings:
    """Those of the server that runs on `state`, if one does, by its own command line; else those of the next start.

    Raises ConfigError if they are wrong.
    """
    from netvps.settings import ServerSettings, load

    process = _process(state / "server.lock", "netvps.programs.server")
    words = _words(process, "cmdline") if process else []
    flags = {word[2:].replace("-", "_"): value for word, value in pairwise(words) if word[:2] == "--"}
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
    flags = dict(pairwise(_words(process, "cmdline"))) if process else {}
    environment = dict(word.split("=", 1) for word in _words(process, "environ") if "=" in word) if process else {}
    surroundings = environment or dict(os.environ)
    named = flags.get("--docker-host") or surroundings.get("NETVPS_DOCKER_HOST")
    if not named and not process:
        named = remembered_flags(state).get("docker_host")
    if not named and (file := flags.get("--config") or surroundings.get("NETVPS_CONFIG")):
        named = load(RunnerSettings, {}, Path(file)).docker_host
    return named or surroundings.get("DOCKER_HOST") or f"unix://{_DOCKER_SOCKET}"


def engine(host: str) -> Finding:
    """Whether Docker answers there, and is new enough."""
    if not host.startswith("unix://"):
        return Finding("engine", Verdict.WARN, f"Docker is at {host}, which is not checked from here")
    path = host.removeprefix("unix://")
    try:
        status, version, _ = _docker(path, "/_ping")
    except FileNotFoundError:
        remedy = "install and start it (Debian: sudo apt install docker.io)"
        return Finding("engine", Verdict.FAIL, f"there is no Docker at {path}", remedy)
    except PermissionError:
        remedy = "`sudo usermod -aG docker $USER`, and log in again"
        return Finding("engine", Verdict.FAIL, f"you may not use Docker at {path}", remedy)
    except (OSError, http.client.HTTPException) as error:
        remedy = f"start it: {'systemctl start docker' if _SYSTEMD.exists() else 'dockerd'}, as root"
        return Finding("engine", Verdict.FAIL, f"Docker at {path} does not answer: {error}", remedy)
    if status != http.client.OK:
        remedy = "look at its log (journalctl -u docker)"
        return Finding("engine", Verdict.FAIL, f"Docker at {path} answers {status}", remedy)
    return _fitting(path, version)


def _fitting(path: str, version: str) -> Finding:
    if (number := re.fullmatch(r"(\d+)\.(\d+)", version)) and (int(number[1]), int(number[2])) < _OLDEST_API:
        old = f"Docker at {path} is too old (API {version})"
        return Finding("engine", Verdict.FAIL, old, "netvps needs Docker 20.10 or later")
    return Finding("engine", Verdict.OK, f"Docker at {path} answers, API {version}")


def _docker(path: str, resource: str) -> tuple[int, str, bytes]:
    """Status, version of its API, and what it answers."""
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    with closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(path)
        connection.request("GET", resource)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Api-Version", "unknown"), answer.read()


def docker_root(host: str) -> Path:
    """Where Docker keeps images and containers; where it does by default, if it does not say."""
    try:
        said = json.loads(_docker(host.removeprefix("unix://"), "/info")[2])
        return Path(said["DockerRootDir"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return Path(_DOCKER_ROOT)


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
    from netvps.cli.ui.parse import size_words

    remedy = (
        "make room: remove files that are no part of netvps, or sessions that their owners gave up (`netvps rm NAME`);"
        " not by `docker system prune` or `docker volume prune`, which remove what stopped sessions are made of"
    )
    free = space.f_bavail * space.f_frsize
    if space.f_files and space.f_favail < _FILES_FAIL:
        return Finding("disk", Verdict.FAIL, f"only {space.f_favail} more files fit at {wanted}", remedy)
    verdict = Verdict.FAIL if free < _DISK_FAIL else Verdict.WARN if free < _DISK_WARN else Verdict.OK
    return Finding("disk", verdict, f"{size_words(free)} free at {wanted}", "" if verdict is Verdict.OK else remedy)


def ports(settings: ServerSettings, *, serving: bool) -> list[Finding]:
    """Whether our ports are served (when netvps runs here), or free for it."""
    host = _reached(settings.listen)
    return [_port(host, int(getattr(settings, name)), use, serving=serving) for name, use in _PORTS.items()]


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
            return Finding(name, Verdict.OK, f"{use}: listening")
        case True, False:
            return Finding(name, Verdict.FAIL, f"{use}: no program listens at {host}", "look at the server's log")
        case False, True:
            remedy = f"see who it is (ss -ltnp 'sport = :{port}'), or choose another port"
            return Finding(name, Verdict.WARN, f"{use}: taken by another program", remedy)
        case _:
            return Finding(name, Verdict.OK, f"{use}: free")


def database(settings: ServerSettings, *, serving: bool) -> Finding:
    """Whether the server reads its database; or, where none runs, whether the file is whole and ours to write."""
    if serving:
        return _ready(_reached(settings.listen), settings.http_port)
    prefix, _, path = settings.database.partition("sqlite:///")
    if prefix or not path:
        return Finding("database", Verdict.WARN, "only a server that runs can ask it", "start the server")
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
        return Finding("database", Verdict.WARN, f"the server does not say at {host}:{port}: {error}", remedy)
    if answer.status != http.client.OK:
        remedy = "look at the server's log, and at the disk or the database server"
        return Finding("database", Verdict.FAIL, f"the server cannot use it ({said})", remedy)
    return Finding("database", Verdict.OK, "the server reads it")


def _sqlite(file: Path) -> Finding:
    damaged = "restore a backup: `netvps restore FILE --yes`; it moves the present files aside"
    if not file.exists():
        return Finding("database", Verdict.OK, f"{file} is made at the first start")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as opened:
            said = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        whole = code & _PRIMARY not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        remedy = _UNREADABLE.get(code, _UNREADABLE.get(code & _PRIMARY, _UNSURE)) if whole else damaged
        return Finding("database", Verdict.FAIL, f"{file} cannot be read: {error}", remedy)
    if said != "ok":
        return Finding("database", Verdict.FAIL, f"{file} is damaged: {said}", damaged)
    if not os.access(file, os.W_OK):
        return Finding(
            "database", Verdict.FAIL, f"{file} is not yours to write", "correct its owner, or run as that user"
        )
    return Finding("database", Verdict.OK, f"{file} is whole")


def runner_certificate(state: Path, now: datetime | None = None) -> list[Finding]:
    """Whether this machine's runner, if it has joined, has a certificate that is good, and is renewed."""
    now = now or datetime.now(UTC)
    try:
        pem = json.loads((state / "runner/identity").read_text(encoding="utf-8"))["certificate"]
        begin, end = validity(ssl.PEM_cert_to_DER_cert(pem))
    except FileNotFoundError:
        return []
    except PermissionError:
        return [Finding("certificates", Verdict.WARN, "the runner's is not yours to read", "run doctor as its user")]
    except (OSError, ValueError, KeyError, TypeError):
        remedy = (
            f"put {state / 'runner/identity'} back from a backup of this machine; without one, move it elsewhere and"
            " join again (`netvps runner join-token`), as a new runner without the sessions of this one"
        )
        return [Finding("certificates", Verdict.FAIL, "the runner's cannot be read", remedy)]
    dates = f"the runner's is good from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    if not begin <= now < end:
        remedy = "check the clock; then start the runner with a new token (netvps runner join-token)"
        return [Finding("certificates", Verdict.FAIL, f"{dates}, and not now", remedy)]
    if end - now < (end - begin) / _RENEWED_BY:
        remedy = "see in the runner's log why it is not renewed"
        return [Finding("certificates", Verdict.WARN, f"{dates}: it should have been renewed", remedy)]
    return [Finding("certificates", Verdict.OK, dates)]


def validity(der: bytes) -> tuple[datetime, datetime]:
    """From when and until when a certificate is good. Raises ValueError if it does not say."""
    found = _VALIDITY.search(der)
    if found is None:
        raise ValueError("no validity")
    begin, end = (_time(found[short] or b"", found[short + 1] or b"") for short in (1, 3))
    return begin, end


def _time(short: bytes, long: bytes) -> datetime:
    """Years of two digits are those up to 2049; Python's %y turns at 1969."""
    text = long.decode() or f"20{short.decode()}"
    return datetime.strptime(f"{text}+0000", "%Y%m%d%H%M%S%z")


def agent(folder: Path | None = None) -> Finding:
    """Whether the agent for this machine's kind of processor is there, and runs."""
    import netvps

    machine = platform.machine()
    name = f"agent-linux-{_ARCHITECTURES.get(machine, machine)}"
    named = os.environ.get("NETVPS_AGENT_DIR")
    file = (folder or (Path(named) if named else Path(netvps.__file__).parent / "agents")) / name
    again = "install netvps again, with Go on PATH to build it"
    if not file.is_file():
        return Finding("agent", Verdict.FAIL, f"{file} is missing", again)
    if not os.access(file, os.X_OK):
        return Finding("agent", Verdict.WARN, f"{file} is not executable", f"chmod +x {file}")
    try:
        ran = subprocess.run([file, "version"], capture_output=True, text=True, timeout=5 * _SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("agent", Verdict.FAIL, f"{file} does not run: {error}", again)
    return Finding("agent", Verdict.OK, f"{name}, version {ran.stdout.strip()[:40]}")
