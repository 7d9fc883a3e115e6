"""`gateway`: ssh through the gateway, over the overlay and by the tunnel, by `netvps ssh-proxy`, and by a jump host.

All lead to Debian on the same Docker engine: ours to the agent, the reference (`ssh -J`) to an sshd in the
container, and "straight" to that sshd without a jump. A jump host forwards encrypted bytes, and the client encrypts
twice; the gateway decrypts and encrypts, as it joins two SSH connections. The CPU time is that of the programs between
client and session: all of netvps' here, and the jump host's sshd. With `ssh-proxy` the client's ssh leads to the agent
by itself: nothing in between encrypts, and the start of a Python is in each login.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from bench import transfers
from bench.image import debian, image_with_sshd
from bench.jump import jump_host
from bench.place import NETVPS, Place, ssh_options
from bench.result import Goal, Measure, Row, percentile
from bench.subjects import Container, Session
from bench.turns import in_turn, milliseconds
from netvps.adapters.process_usage import children, cpu_seconds
from netvps.api.v1 import session_pb2
from netvps.api.v1.session_pb2_grpc import SessionServiceStub
from netvps.process.account import user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.jump import JumpHost

_MEGABYTES: Final = int(os.environ.get("BENCH_MEGABYTES", "256"))
_BYTES: Final = _MEGABYTES << 20
_FILES: Final = 2_000
_FILE_BYTES: Final = 2_000
_CALLS: Final = 300
_TRANSFERS: Final = 50
_AS_QUICK: Final = Goal(Measure.RATIO, 1.0)
_AS_MUCH: Final = Goal(Measure.RATIO, 1.0, at_least=True)
_MORE: Final = Goal(Measure.RATIO, 1.2, at_least=True)
_WAYS: Final = ("overlay", "tunnel", "ssh-proxy")
_PLACES: Final = {"overlay": "overlay", "tunnel": "tunnel", "ssh-proxy": "tunnel"}
"""The installation of each way."""
_JUMP, _STRAIGHT = "ssh -J", "ssh, straight"

Ways = dict[str, list[str]]
Samples = dict[str, list[float]]


def measure(rounds: int) -> list[Row]:
    """Measures a login, streams, files, a typed byte beside streams, CPU time, and the API beside streams."""
    with contextlib.ExitStack() as stack:
        places = {name: stack.enter_context(Place()) for name in _PLACES.values()}
        places["overlay"].env["NETVPS_OVERLAY"] = "true"
        reference = places["tunnel"]
        base = stack.enter_context(debian(reference))
        image = stack.enter_context(image_with_sshd(reference, base))
        jump = stack.enter_context(jump_host(reference))
        # Where the image has a server, port 22 of the overlay's address is that server's.
        images = {"overlay": base, "tunnel": image}
        ways = {name: stack.enter_context(_session(place, images[name])) for name, place in places.items()}
        ways["ssh-proxy"] = _by_proxy(reference, ways["tunnel"][-1].partition("@")[0])
        container = Container(reference, image)
        stack.callback(container.remove)
        container.make()
        ways[_JUMP] = jump.ssh(container.address)
        ways[_STRAIGHT] = ["ssh", *ssh_options(reference.key), f"root@{container.address}"]
        rows = _streams(rounds, ways) + _files(rounds, ways, reference.folder) + _typed(rounds, ways)
        used = {name: partial(_cpu_of, places[_PLACES[name]]) for name in _WAYS}
        used[_JUMP] = partial(_with_children, jump)
        spent = {name: partial(_spent, ways[name], of) for name, of in used.items()}
        for label, samples in _split(in_turn(rounds, spent)):
            rows.append(Row(f"CPU time in between, bytes down, {label}", "s/GB", samples, Goal(Measure.MEDIAN, 4.0)))
        samples = {"netvps": _api_beside(places["overlay"], ways["overlay"])}
        rows.append(Row(f"API call beside {_TRANSFERS} transfers", "ms", samples, Goal(Measure.P99, 50.0)))
        return rows


@contextlib.contextmanager
def _session(place: Place, image: str) -> Iterator[list[str]]:
    """A session of a running netvps: the command line that leads there."""
    place.up()
    session = Session(place, image)
    try:
        session.make()
        yield ["ssh", *ssh_options(place.key), "-p", str(place.ports["ssh"]), f"{session.name}@127.0.0.1"]
    finally:
        session.remove()


def _by_proxy(place: Place, name: str) -> list[str]:
    """The command line that leads to a session of a place by `netvps ssh-proxy`."""
    host = f"{name}.{user_name()}.nv.internal"
    folders = [f"{each}={place.env[each]}" for each in ("HOME", "NETVPS_STATE_DIR", "NETVPS_RUNTIME_DIR")]
    proxy = shlex.join(["env", *folders, NETVPS, "ssh-proxy", host])
    return ["ssh", *ssh_options(place.key), "-o", f"ProxyCommand={proxy}", f"root@{host}"]


def _split(samples: Samples) -> list[tuple[str, Samples]]:
    """One comparison for each way of ours."""
    others = {name: values for name, values in samples.items() if name not in _WAYS}
    return [(name, {"netvps": samples[name]} | others) for name in _WAYS]


def _compared(rounds: int, label: str, unit: str, things: Mapping[str, Callable[[], float]], goal: Goal) -> list[Row]:
    return [Row(f"{label}, {way}", unit, samples, goal) for way, samples in _split(in_turn(rounds, things))]


def _streams(rounds: int, ways: Ways) -> list[Row]:
    logins = {name: partial(milliseconds, partial(transfers.run, [*way, "true"])) for name, way in ways.items()}
    ups = {name: partial(transfers.up, way, _BYTES) for name, way in ways.items()}
    downs = {name: partial(transfers.down, way, _BYTES) for name, way in ways.items()}
    fours = {name: partial(transfers.down, way, _BYTES // 4, 4) for name, way in ways.items()}
    return [
        *_compared(rounds, "ssh true", "ms", logins, _AS_QUICK),
        *_compared(rounds, f"{_MEGABYTES} MiB up", "MB/s", ups, _MORE),
        *_compared(rounds, f"{_MEGABYTES} MiB down", "MB/s", downs, _MORE),
        *_compared(rounds, "four downloads together", "MB/s", fours, _AS_MUCH),
    ]


def _files(rounds: int, ways: Ways, folder: Path) -> list[Row]:
    big, small = folder / "big", folder / "small"
    with big.open("wb") as file:
        file.truncate(_BYTES)
    small.mkdir()
    for number in range(_FILES):
        (small / str(number)).write_bytes(os.urandom(_FILE_BYTES))
    puts = {name: partial(transfers.put, way, big) for name, way in ways.items()}
    gets = {name: partial(transfers.get, way, _BYTES) for name, way in ways.items()}
    many = {name: partial(transfers.small_files, way, small) for name, way in ways.items()}
    return [
        *_compared(rounds, "sftp put", "MB/s", puts, _AS_MUCH),
        *_compared(rounds, "sftp get", "MB/s", gets, _AS_MUCH),
        *_compared(rounds, f"{_FILES:,} small files", "s", many, _AS_QUICK),
    ]


def _typed(rounds: int, ways: Ways) -> list[Row]:
    """A byte and its echo on one connection, beside two downloads on others."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with transfers.downloads(way, 2):
                for values, value in zip(found[name], transfers.typed_byte(way), strict=True):
                    values.append(value)
    rows = []
    for index, (label, limit) in enumerate((("median", 3.0), ("99th percentile", 20.0))):
        samples = {name: values[index] for name, values in found.items()}
        goal = Goal(Measure.MEDIAN, limit)
        rows += [
            Row(f"a typed byte beside two downloads, {label}, {way}", "ms", each, goal) for way, each in _split(samples)
        ]
    return rows


def _api_beside(place: Place, way: list[str]) -> list[float]:
    """Times of calls, in milliseconds."""
    name = way[-1].partition("@")[0]
    with grpc.insecure_channel(place.socket) as channel, transfers.downloads(way, _TRANSFERS):
        stub = SessionServiceStub(channel)
        found = next(
            each for each in stub.ListSessions(session_pb2.ListSessionsRequest()).sessions if name in each.name
        )
        request = session_pb2.GetSessionRequest(name=found.name)
        taken = [milliseconds(partial(stub.GetSession, request, timeout=60)) for _ in range(_CALLS)]
    return [percentile(taken, 99)]


def _spent(way: list[str], used: Callable[[], float]) -> float:
    """Measures the CPU seconds of a gigabyte down, by the difference of `used`."""
    before = used()
    transfers.down(way, _BYTES)
    return (used() - before) / (_BYTES / 1e9)


def _cpu_of(place: Place) -> float:
    """Returns CPU seconds of all programs of an installation."""
    pids = {pid for _, pid in place.programs()}
    pids |= {child for pid in pids for child in children(pid)}
    pids |= {child for pid in pids for child in children(pid)}
    return sum(cpu_seconds(pid) for pid in pids)


def _with_children(jump: JumpHost) -> float:
    """Returns CPU seconds of the server and its ended connections, once the last one has ended."""
    deadline = time.monotonic() + 10
    while any(task.read_text().strip() for task in Path(f"/proc/{jump.pid}/task").glob("*/children")):
        if time.monotonic() > deadline:
            raise RuntimeError("the jump host's connection does not end")
        time.sleep(0.01)
    fields = Path(f"/proc/{jump.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
