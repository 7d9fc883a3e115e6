"""`gateway`: ssh through the gateway, and through an OpenSSH jump host.

Both lead to the same image on the same Docker engine: ours to the agent, the reference (`ssh -J`) to an sshd in the
container, and "straight" to that sshd without a jump. A jump host forwards encrypted bytes, and the client encrypts
twice; the gateway decrypts and encrypts, as it joins two SSH connections. The CPU time is that of the programs between
client and session: all of netvps' here, and the jump host's sshd.
"""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.image import image_with_sshd
from bench.jump import jump_host
from bench.place import Place, ssh_options
from bench.process import cpu_seconds
from bench.result import Goal, Measure, Row
from bench.subjects import Container, Session
from bench.turns import in_turn, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.jump import JumpHost

_MEGABYTES: Final = 512
_BYTES: Final = _MEGABYTES << 20
_DOWN: Final = f"head -c {_BYTES} /dev/zero"
_LIMIT: Final = 300.0  # seconds that a transfer may take
_AS_QUICK: Final = Goal(Measure.RATIO, 1.0)
_AS_MUCH: Final = Goal(Measure.RATIO, 1.0, at_least=True)


def measure(rounds: int) -> list[Row]:
    """Measures a login, bytes up, bytes down, and the CPU time of a gigabyte down."""
    with Place() as place, image_with_sshd(place) as image, jump_host(place) as jump:
        place.up()
        session, container = Session(place, image), Container(place, image)
        try:
            session.make()
            container.make()
            ways = {
                "netvps": _gateway(place, session),
                "ssh -J": jump.ssh(container.address),
                "ssh, straight": ["ssh", *ssh_options(place.key), f"root@{container.address}"],
            }
            logins = {name: partial(milliseconds, partial(_run, [*way, "true"])) for name, way in ways.items()}
            up = {name: partial(_rate, way, upwards=True) for name, way in ways.items()}
            down = {name: partial(_rate, way, upwards=False) for name, way in ways.items()}
            spent = {
                "netvps": partial(_spent, ways["netvps"], lambda: sum(cpu_seconds(pid) for _, pid in place.programs())),
                "ssh -J": partial(_spent, ways["ssh -J"], partial(_with_children, jump)),
            }
            return [
                Row("ssh true", "ms", in_turn(rounds, logins), _AS_QUICK),
                Row(f"{_MEGABYTES} MiB up", "MB/s", in_turn(rounds, up), _AS_MUCH),
                Row(f"{_MEGABYTES} MiB down", "MB/s", in_turn(rounds, down), _AS_MUCH),
                Row("CPU time in between, bytes down", "s/GB", in_turn(rounds, spent)),
            ]
        finally:
            session.remove()
            container.remove()


def _gateway(place: Place, session: Session) -> list[str]:
    port = str(place.ports["ssh"])
    return ["ssh", *ssh_options(place.key), "-p", port, f"{session.name}@127.0.0.1"]


def _run(command: list[str], stdin: int | None = subprocess.DEVNULL) -> None:
    subprocess.run(command, stdin=stdin, stdout=subprocess.DEVNULL, check=True, timeout=_LIMIT)


def _rate(way: list[str], *, upwards: bool) -> float:
    """Measures megabytes per second, including the login."""
    began = time.perf_counter()
    if upwards:
        with subprocess.Popen(["head", "-c", str(_BYTES), "/dev/zero"], stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            _run([*way, "cat >/dev/null"], source.stdout.fileno())
    else:
        _run([*way, _DOWN])
    return _BYTES / 1e6 / (time.perf_counter() - began)


def _spent(way: list[str], used: Callable[[], float]) -> float:
    """Measures the CPU seconds of a gigabyte down, by the difference of `used`."""
    before = used()
    _run([*way, _DOWN])
    return (used() - before) / (_BYTES / 1e9)


def _with_children(jump: JumpHost) -> float:
    """Returns CPU seconds of the server and its ended connections, once the last one has ended."""
    deadline = time.monotonic() + 10
    while any(task.read_text().strip() for task in Path(f"/proc/{jump.pid}/task").glob("*/children")):
        if time.monotonic() > deadline:
            raise RuntimeError("the jump host's connection does not end")
        time.sleep(0.01)
    fields = Path(f"/proc/{jump.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
