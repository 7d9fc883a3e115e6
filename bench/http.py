"""`http`: an app through the gateway's URLs, beside the same app reached directly and through Caddy alone.

The app listens on loopback in a session, whose URL is public, and on all addresses of a container. Each request has a
client's connection of its own. The CPU time is that of the programs in between: the gateway, the server, the process
before the tunnel's port and the runner; or Caddy. What runs in the session and the container is the app's own.

WebSockets are spread over sessions, each of which has 2,000 connections at most.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.image import debian
from bench.place import Place, free_ports, run, unique
from bench.result import Goal, Measure, Row, percentile
from bench.turns import in_turn, milliseconds
from netvps.adapters.process_usage import children, cpu_seconds, proportional_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PORT: Final = 8080
_REQUESTS: Final = 300
_MEGABYTES: Final = int(os.environ.get("BENCH_MEGABYTES", "256"))
_IDLE, _IDLE_OF_SESSION = 10_000, 1900
_OURS, _DIRECT, _CADDY = "netvps", "directly", "Caddy"
_SOURCE: Final = Path(__file__).with_name("app") / "main.go"


@dataclass(frozen=True)
class Way:
    """A way to the app: where to connect, and what to call it."""

    address: tuple[str, int]
    host: str

    def get(self) -> None:
        """One request with a small answer."""
        self._ask("GET", "/")

    def down(self) -> None:
        """Downloads."""
        self._ask("GET", f"/down?bytes={_MEGABYTES << 20}")

    def up(self) -> None:
        """Uploads."""
        self._ask("POST", "/up", bytes(_MEGABYTES << 20))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> None:
        with contextlib.closing(HTTPConnection(*self.address, timeout=60)) as connection:
            connection.request(method, path, body, {"Host": self.host})
            answer = connection.getresponse()
            while answer.read(1 << 20):
                pass
            if answer.status != 200:
                raise RuntimeError(f"{self.host}{path}: {answer.status}")


def measure(rounds: int) -> list[Row]:
    """Measures latencies, requests of a core, streams, and the memory of idle WebSockets."""
    if shutil.which("caddy") is None:
        raise RuntimeError("caddy is not installed: apt-get install caddy")
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(Place())
        place.up()
        app, image = _built(place.folder), stack.enter_context(debian(place))
        ways = {_OURS: stack.enter_context(_session(place, app, image))}
        ours = _programs(place)
        ways[_DIRECT] = stack.enter_context(_container(app, image))
        ways[_CADDY], caddy = stack.enter_context(_caddy(ways[_DIRECT], place.folder))
        pids = {_OURS: [*ours.values()], _CADDY: [caddy]}
        rows = _latencies(rounds, ways)
        rates = {name: partial(_rate, ways[name], used) for name, used in pids.items()}
        rows.append(Row("requests a core", "1/s", in_turn(rounds, rates), Goal(Measure.MEDIAN, 3000, at_least=True)))
        for label, name in (("down", "down"), ("up", "up")):
            streams = {each: partial(_megabytes_a_second, getattr(way, name)) for each, way in ways.items()}
            rows.append(Row(f"{_MEGABYTES} MiB {label}", "MB/s", in_turn(rounds, streams)))
        idle = [ways[_OURS]]
        count = min(_IDLE, _files() // 2 - 500) if rounds > 1 else 100
        idle += [stack.enter_context(_session(place, app, image)) for _ in range(count // _IDLE_OF_SESSION)]
        grown = _grown(idle, ours, count)
        label = f"{count:,} idle WebSockets"
        rows.append(Row(label, "MB", {_OURS: [grown["gateway"]]}, Goal(Measure.MEDIAN, 300)))
        rows.append(Row(f"{label}, all programs in between", "MB", {_OURS: [sum(grown.values())]}))
        return rows


def _programs(place: Place) -> dict[str, int]:
    """The process ids of the programs between a client and a session, by name."""
    pids = dict(place.programs())
    named = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(pids["server"])}
    gateway = next(pid for pid, words in named.items() if b"netvps.programs.http" in words)
    front = next(pid for pid, words in named.items() if words.endswith(b"\0front\0"))
    return {"gateway": gateway, "server": pids["server"], "front": front, "runner": pids["runner"]}


def _files() -> int:
    """Allows this process as many open files as it may have, and returns their number. The gateway has two each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _latencies(rounds: int, ways: dict[str, Way]) -> list[Row]:
    """Of each round the median and the 99th percentile: a goal is about the difference to the app itself."""
    found: dict[str, list[list[float]]] = {name: [] for name in ways}

    def one(name: str) -> float:
        found[name].append([milliseconds(ways[name].get) for _ in range(_REQUESTS)])
        return 0.0

    in_turn(rounds, {name: partial(one, name) for name in ways})
    rows = []
    for percent, limit in ((50, 2.0), (99, 6.0)):
        samples = {name: [percentile(each, percent) for each in of[1:]] for name, of in found.items()}
        rows.append(Row(f"GET, percentile {percent} of {_REQUESTS}", "ms", samples, Goal(Measure.DIFFERENCE, limit)))
    return rows


def _rate(way: Way, pids: list[int]) -> float:
    before = sum(map(cpu_seconds, pids))
    for _ in range(_REQUESTS):
        way.get()
    return _REQUESTS / (sum(map(cpu_seconds, pids)) - before)


def _megabytes_a_second(work: Callable[[], None]) -> float:
    return (_MEGABYTES << 20) / 1e3 / milliseconds(work)


def _grown(ways: list[Way], pids: dict[str, int], count: int) -> dict[str, float]:
    """How much larger processes are, in megabytes, while WebSockets are open and idle, spread over sessions."""
    before = {name: proportional_bytes(pid) for name, pid in pids.items()}
    with contextlib.ExitStack() as stack:
        for number in range(count):
            way = ways[number % len(ways)]
            client = stack.enter_context(socket.create_connection(way.address, 60))
            head = f"GET /idle HTTP/1.1\r\nHost: {way.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            client.sendall(head.encode())
            if not client.recv(1024).startswith(b"HTTP/1.1 101 "):
                raise RuntimeError("a WebSocket was refused")
        return {name: (proportional_bytes(pid) - before[name]) / 1e6 for name, pid in pids.items()}


def _built(folder: Path) -> Path:
    app = folder / "app"
    run("go", "build", "-o", str(app), str(_SOURCE), env=os.environ | {"CGO_ENABLED": "0"})
    return app


@contextlib.contextmanager
def _session(place: Place, app: Path, image: str) -> Iterator[Way]:
    name = unique("s")
    place.netvps("create", name, "--image", image)
    try:
        place.netvps("cp", str(app), f"{name}:/usr/local/bin/app")
        place.netvps("exec", name, "--", "sh", "-c", f"setsid app 127.0.0.1:{_PORT} >/dev/null 2>&1 </dev/null &")
        place.netvps("url", "add", name, str(_PORT), "--public")
        host = place.netvps("url", name, str(_PORT)).strip().partition("://")[2].rstrip("/").partition(":")[0]
        yield _answering(Way(("127.0.0.1", place.ports["apps"]), host))
    finally:
        place.netvps("rm", "--yes", name, check=False)


@contextlib.contextmanager
def _container(app: Path, image: str) -> Iterator[Way]:
    name = unique("nvb-app")
    run("docker", "create", "--name", name, image, "app", f"0.0.0.0:{_PORT}")
    try:
        run("docker", "cp", str(app), f"{name}:/usr/local/bin/app")
        run("docker", "start", name)
        address = run("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
        yield _answering(Way((address.strip(), _PORT), "app"))
    finally:
        run("docker", "rm", "-f", name, check=False)


@contextlib.contextmanager
def _caddy(behind: Way, folder: Path) -> Iterator[tuple[Way, int]]:
    """Caddy alone in front of the app, without TLS, as the others; and its process id."""
    (port,) = free_ports(1)
    to = ":".join(map(str, behind.address))
    config = folder / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\nhttp://127.0.0.1:{port} {{\n\treverse_proxy {to}\n}}\n")
    folders = {"XDG_DATA_HOME": str(folder / "caddy"), "XDG_CONFIG_HOME": str(folder / "caddy")}
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
    with subprocess.Popen(command, env=os.environ | folders, stderr=subprocess.DEVNULL) as process:
        try:
            yield _answering(Way(("127.0.0.1", port), "127.0.0.1")), process.pid
        finally:
            process.terminate()


def _answering(way: Way) -> Way:
    """Waits until the app answers that way."""
    deadline = time.monotonic() + 30
    while True:
        try:
            way.get()
        except (OSError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return way
