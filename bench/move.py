"""`move`: a stopped session of a machine, with 200 MB changed, to a finished `ssh true` on another one.

In the first row the other machine holds a copy of its snapshot already; beside it, a start where it is. In the second
row the other machine has only the image below; beside it, a committed container goes there by `docker save | ssh …
docker load`, and is run. Both machines are namespaces of this one, so their network is as fast as memory.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING, Final

from bench.hosts import docker_of, machines, within
from bench.image import image_with_sshd
from bench.jump import JumpHost, jump_host
from bench.place import NETVPS, Place, run, ssh_options, unique
from bench.result import Goal, Measure, Row
from bench.subjects import CHANGE, MEGABYTES, Session
from bench.turns import in_turn, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST, _SECOND = 1, 2
_PATIENCE: Final = 120.0  # seconds until a machine joined, or a container's sshd listens
_COPIED: Final = "--copies", "2"


def measure(rounds: int) -> list[Row]:
    """Measures two rows."""
    with contextlib.ExitStack() as stack:
        outside = stack.enter_context(Place())  # the machines of the lab do not reach Debian's mirrors
        image = stack.enter_context(image_with_sshd(outside))
        jump = stack.enter_context(jump_host(outside))
        lab = stack.enter_context(machines(2))
        place = stack.enter_context(Place(within=within(f"{lab}-1"), docker_host=docker_of(lab, _FIRST)[-1]))
        for host in (_FIRST, _SECOND):
            _pipe(("docker", "save", image), (*docker_of(lab, host), "load"))
        place.up("--listen", "0.0.0.0", "--name", "box1")
        stack.enter_context(_second_runner(lab, place))
        holder = in_turn(
            rounds,
            {
                "moved to a holder": lambda: _session(place, image, _move, *_COPIED),
                "started where it is": lambda: _session(place, image, _start, *_COPIED),
            },
        )
        base = in_turn(
            rounds,
            {
                "netvps move, ssh": lambda: _session(place, image, _move),
                "docker save, ssh, load, run": lambda: _by_hand(lab, jump, image),
            },
        )
    return [
        Row(f"to a holder, {MEGABYTES} MB changed", "ms", holder, Goal(Measure.RATIO, 1.0)),
        Row(f"to a machine with the base, {MEGABYTES} MB changed", "ms", base, Goal(Measure.RATIO, 0.5)),
    ]


def _session(place: Place, image: str, work: Callable[[Place, Session], None], *stop: str) -> float:
    """Times work on a stopped session of the first machine."""
    session = Session(place, image)
    place.netvps("runner", "drain", "box2")  # has none, and gets none
    try:
        session.make()
    finally:
        place.netvps("runner", "uncordon", "box2")
    try:
        session.change()
        place.netvps("stop", session.name, "--wait-snapshot", *stop)
        _sync()
        return milliseconds(lambda: work(place, session))
    finally:
        session.remove()


def _start(_: Place, session: Session) -> None:
    session.start()


def _move(place: Place, session: Session) -> None:
    place.netvps("move", session.name, "--to", "box2")
    session.start()


def _by_hand(lab: str, jump: JumpHost, image: str) -> float:
    """Times a committed container of the first machine on its way to the second."""
    first, second = docker_of(lab, _FIRST), docker_of(lab, _SECOND)
    name, kept = unique("nvb-c"), unique("nvb-kept")
    try:
        run(*first, "run", "-d", "--name", name, image, "/usr/sbin/sshd", "-D")
        run(*first, "exec", name, "sh", "-c", CHANGE)
        run(*first, "commit", name, kept)
        run(*first, "rm", "-f", name)
        _sync()

        def work() -> None:
            _pipe((*first, "save", kept), (*jump.shell(), *second, "load"))
            run(*second, "run", "-d", "--name", name, kept, "/usr/sbin/sshd", "-D")
            address = run(*second, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).strip()
            _until_it_answers(lab, jump, address)

        return milliseconds(work)
    finally:
        for docker in (first, second):
            run(*docker, "rm", "-f", name, check=False)
            run(*docker, "rmi", "-f", kept, check=False)


def _until_it_answers(lab: str, jump: JumpHost, address: str) -> None:
    command = (*within(f"{lab}-2"), "ssh", *ssh_options(jump.key), f"root@{address}", "true")
    deadline = time.monotonic() + _PATIENCE
    while subprocess.run(command, check=False, capture_output=True, timeout=60).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the container at {address} does not answer")


@contextlib.contextmanager
def _second_runner(lab: str, place: Place) -> Iterator[None]:
    folder = place.folder / "2"
    folder.mkdir()
    token = folder / "token"
    token.write_text(place.netvps("runner", "join-token"))
    places = {"NETVPS_STATE_DIR": str(folder / "s"), "NETVPS_RUNTIME_DIR": str(folder / "r")}
    server = ("--server", f"192.0.2.1:{place.ports['api']}", "--link", f"192.0.2.1:{place.ports['link']}")
    joining = ("--name", "box2", "--join-token-file", str(token), "--docker-host", docker_of(lab, _SECOND)[-1])
    with (folder / "log").open("wb") as log:
        command = [*within(f"{lab}-2"), NETVPS, "runner", *server, *joining]
        process = subprocess.Popen(command, env=place.env | places, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _PATIENCE
        while place.netvps("runner", "ls", check=False).count("ONLINE") < _SECOND:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the second runner does not join: {(folder / 'log').read_text(errors='replace')}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _pipe(source: tuple[str, ...], target: tuple[str, ...]) -> None:
    with subprocess.Popen(source, stdout=subprocess.PIPE) as sender:
        subprocess.run(target, stdin=sender.stdout, check=True, capture_output=True, timeout=600)
    if sender.returncode:
        raise RuntimeError(f"{' '.join(source)} failed")


def _sync() -> None:
    subprocess.run(["sync"], check=True, timeout=300)  # earlier writes must not count here
