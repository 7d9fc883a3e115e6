"""What `netvps doctor` looks at: each check is a function of its own, and returns what it found and what to do."""

from __future__ import annotations

import http.client
import os
import platform
import shutil
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from netvps.cli.contexts import Context

_SECONDS: Final = 2.0
_DOCKER_SOCKET: Final = "/var/run/docker.sock"
_GIB: Final = 1 << 30
_DISK_WARN, _DISK_FAIL = 5 * _GIB, 1 * _GIB
_SKEW: Final = timedelta(minutes=1)
_SET_CLOCK: Final = "set the clock: timedatectl set-ntp true"
_SEE_LOG: Final = "look at the server's log"
PORTS: Final = {2222: "SSH gateway", 7443: "API", 7444: "runners and agents", 7480: "health over HTTP"}
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check; `remedy` is '' where there is nothing to do."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


def server(context: Context) -> list[Finding]:
    """Whether the server of the context answers, and takes us for somebody; then its CA."""
    from netvps.cli.connect import dial

    try:
        with dial(context) as client:
            info = client.server_info()
            me = client.get_user("me")
    except NetvpsError as error:
        return [Finding("server", Verdict.FAIL, f"{context.name}: {error}")]
    answered = f"{context.name} ({context.address}) runs netvps {info.version}; you are {me.name}, {me.role.lower()}"
    return [Finding("server", Verdict.OK, answered), authority(info.ca_certificate)]


def authority(certificate: str, now: float | None = None) -> Finding:
    """Whether the CA certificate is one, and good now; its fingerprint is what `netvps login` has people compare."""
    import ssl

    from netvps.cli.login import fingerprint

    store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        store.load_verify_locations(cadata=certificate)
        (found,) = store.get_ca_certs()
    except (ssl.SSLError, ValueError) as error:
        return Finding("certificates", Verdict.FAIL, f"the CA certificate cannot be loaded: {error}", _SEE_LOG)
    begin, end = (ssl.cert_time_to_seconds(str(found[key])) for key in ("notBefore", "notAfter"))
    if not begin <= (time.time() if now is None else now) <= end:
        dates = f"the CA certificate is good from {found['notBefore']} to {found['notAfter']}, and not now"
        return Finding("certificates", Verdict.FAIL, dates, _SET_CLOCK)
    return Finding("certificates", Verdict.OK, f"CA SHA-256 {fingerprint(certificate)}")


def engine() -> Finding:
    """Whether Docker answers a ping."""
    host = os.environ.get("DOCKER_HOST", f"unix://{_DOCKER_SOCKET}")
    if not host.startswith("unix://"):
        return Finding("engine", Verdict.WARN, f"DOCKER_HOST is {host}, which is not checked from here")
    path = host.removeprefix("unix://")
    try:
        status, version = _ping(path)
    except FileNotFoundError:
        return Finding(
            "engine", Verdict.FAIL, f"there is no Docker at {path}", "install and start it: apt install docker.io"
        )
    except PermissionError:
        return Finding(
            "engine",
            Verdict.FAIL,
            f"you may not use Docker at {path}",
            "`sudo usermod -aG docker $USER`, and log in anew",
        )
    except (OSError, http.client.HTTPException) as error:
        return Finding(
            "engine", Verdict.FAIL, f"Docker at {path} does not answer: {error}", "start it: systemctl start docker"
        )
    if status != http.client.OK:
        return Finding(
            "engine", Verdict.FAIL, f"Docker at {path} answers {status}", "look at its log: journalctl -u docker"
        )
    return Finding("engine", Verdict.OK, f"Docker at {path} answers, API {version}")


def _ping(path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(path)
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Api-Version", "unknown")
    finally:
        connection.close()


def disk() -> list[Finding]:
    """Room where Docker and netvps keep things."""
    from netvps.cli.parse import size_words
    from netvps.config import paths

    found: dict[int, Finding] = {}
    for wanted in (paths().state, Path("/var/lib/docker")):
        place = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
        try:
            free, device = shutil.disk_usage(place).free, place.stat().st_dev
        except OSError:
            continue
        verdict = Verdict.FAIL if free < _DISK_FAIL else Verdict.WARN if free < _DISK_WARN else Verdict.OK
        remedy = "" if verdict is Verdict.OK else "make room: `netvps rm` sessions, `docker image prune`"
        found.setdefault(device, Finding("disk", verdict, f"{size_words(free)} free at {wanted}", remedy))
    return list(found.values())


def clock(now: datetime | None = None) -> Finding:
    """Whether the clock can be right: it is not before this program was installed.

    Without a time server to ask, nothing more is certain; `authority` compares it with the CA's own dates.
    """
    now = now or datetime.now(UTC)
    installed = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < installed - _SKEW:
        return Finding("clock", Verdict.FAIL, f"{said} is before this program was installed", _SET_CLOCK)
    return Finding("clock", Verdict.OK, said)


def ports(*, serving: bool) -> list[Finding]:
    """Whether our ports are served (when netvps runs here), or free for it."""
    return [_port(port, use, serving=serving) for port, use in PORTS.items()]


def _port(port: int, use: str, *, serving: bool) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        open_ = probe.connect_ex(("127.0.0.1", port)) == 0
    name = f"port {port}"
    match serving, open_:
        case True, True:
            return Finding(name, Verdict.OK, f"{use}: listening")
        case True, False:
            return Finding(
                name, Verdict.WARN, f"{use}: nobody listens at 127.0.0.1", "fine if you chose another port or address"
            )
        case False, True:
            remedy = f"see who it is (ss -ltnp 'sport = :{port}'), or choose another port"
            return Finding(name, Verdict.WARN, f"{use}: taken by somebody", remedy)
        case _:
            return Finding(name, Verdict.OK, f"{use}: free")


def agent() -> Finding:
    """Whether the agent for this machine's kind of processor is there."""
    import netvps

    machine = platform.machine()
    name = f"agent-linux-{_ARCHITECTURES.get(machine, machine)}"
    file = Path(netvps.__file__).parent / "agents" / name
    if not file.is_file():
        return Finding("agent", Verdict.FAIL, f"{file} is missing", "install netvps anew, with Go on PATH to build it")
    if not os.access(file, os.X_OK):
        return Finding("agent", Verdict.WARN, f"{file} is not executable", f"chmod +x {file}")
    return Finding("agent", Verdict.OK, name)


def programs() -> list[Finding]:
    """The programs of OpenSSH that the CLI uses."""
    found = []
    for name in ("ssh", "ssh-keygen"):
        where = shutil.which(name)
        if where is None:
            found.append(Finding(name, Verdict.FAIL, "not installed", "apt install openssh-client"))
        else:
            found.append(Finding(name, Verdict.OK, where))
    return found
