"""Clients that do random things to a system whose processes are killed at random, and the judgement in the end.

     client ─┐ create, stop, start, pause, delete, write files and look for all others, add and remove a key
     client ─┼──► system ◄── killer: control plane, runner, both, all of it, process 1 of a session; at random moments,
     client ─┘                       during a start too, and at random fault points

A seed fixes what is chosen; what happens besides depends on the machine's mood.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.docker_names import LABEL_NODE, container_name
from netvps.domain.session.session import DesiredState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NetvpsError, NotFound
from netvps.faults import AGENT, KILL
from tests.e2e.kills.faulty import until
from tests.e2e.kills.leftovers import place_of, strays
from tests.e2e.kills.stories import PASSES
from tests.e2e.system import docker
from tests.history.record import UNCLEAR
from tests.support.fair_clock import FAIR

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.kills.faulty import Faulty

CLIENTS: Final = 3
NAMES: Final = ("ada", "bob", "cyd", "dot")
KEPT: Final = "dot"
"""Is never deleted: what is written to it in the beginning has to live through all that dies."""
BYSTANDER: Final = "eve"
"""A session that gets no requests: whatever dies, its processes must not notice."""
_ASKS: Final = {"create": 22, "stop": 13, "start": 18, "pause": 8, "resume": 4, "delete": 9, "write": 21, "key": 5}
"""What clients do, and how often in a hundred."""
_WAYS: Final = {"server": 30, "runner": 30, "both": 10, "all": 3, "session": 12, "point": 15}
"""How to kill, and how often in a hundred."""
_TRIES, _TRY_AGAIN = 12, 0.3
_HELD: Final = (
    """sed 's/.*"session_uid": "\\([^"]*\\)".*/\\1/' /.netvps/run/boot.json &&"""
    " echo && cat lines && find files -type f -exec sha256sum {} +"
)
_READ: Final = f"cd /root && mkdir -p files && touch lines && {_HELD}"
_WRITE: Final = (
    "cd /root && mkdir -p files && for i in 1 2 3 4; do head -c 4096 /dev/urandom > files/$line.$i || exit 1; done &&"
    f" echo $line >> lines && {_HELD}"
)
_OPERATIONS: Final = ("create", "stop", "start", "pause", "wake", "delete", "vanish", "add_key", "remove_key")
_SERVES_FIRST = 0.7
"""How often the next death waits until the system answers after the last; else it may come in the middle of a start."""
_PAUSE = 3.0
"""Seconds at most from there on, or from the last death, to the next."""
_REACHES = 2.0
"""Seconds to wait until a program passes a random point."""


@dataclass
class Written:
    """What clients know to be so."""

    files: dict[tuple[str, str], str] = field(default_factory=dict)
    """What was written and acknowledged: session uid and file → its hash; session uid and line → "1" time.

    Threads copy it and add to it at once."""
    checks: list[int] = field(default_factory=list)
    """How much of it was looked for, at each look."""
    keys: dict[Path, bool] = field(default_factory=dict)
    """Private key file → whether it is registered."""
    asked: Counter[str] = field(default_factory=Counter)


class Storm:
    """One system in a storm. `run` it, then `judge`."""

    asks = _ASKS
    ways = _WAYS
    points = tuple(sorted({point for operation in _OPERATIONS for point in PASSES[operation]} - set(AGENT)))
    """Where a program may be killed."""

    def __init__(self, system: Faulty, image: str, seed: str, kills: int, enough: threading.Event) -> None:
        """`enough` ends it early."""
        self.system = system
        self._enough = enough
        self.killed: Counter[str] = Counter()
        self.written = Written()
        self._kills = kills
        self._seed = seed
        self._spec = SessionSpec(image=image, stop_grace=0)
        self._over = threading.Event()
        self._own = threading.local()
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Kills as often as asked for, while clients go on; raises what went wrong with a client."""
        self._create_bystander()
        clients = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            self._own.chance = random.Random(f"{self._seed} killer")
            self._kill_all_the_time(self._own.chance)
        finally:
            self._over.set()
            for client in clients:
                client.join()
        if self._errors:
            raise self._errors[0]

    def judge(self) -> None:
        """Waits until all is as promised, reads all files, deletes all sessions; nothing of them may be left."""
        self.system.disarm()
        self._is_up()  # it runs already, most often
        for name in (*NAMES, BYSTANDER):
            self.system.settled(name)
        self.system.until_right()
        self._require_undisturbed()
        for name in NAMES:
            if self.system.settled(name) is not None:
                self._require_files(name)
        self._require_keys()
        for name in (*NAMES, BYSTANDER):
            if self.system.settled(name) is not None:
                self.system.ask("delete", name)
                assert self.system.settled(name) is None
        self.system.until_right()
        until("no network is left without a container", lambda: not strays(place_of(self.system)))

    @property
    def chance(self) -> random.Random:
        """That of this thread."""
        found: random.Random = self._own.chance
        return found

    # What clients do.

    def _client(self, number: int) -> None:
        choices = self._own.chance = random.Random(f"{self._seed} client {number}")
        key = self.system.home / f"key-{number}"
        self.system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        self.written.keys[key] = False
        try:
            while not self._over.is_set():
                doing = choices.choices(list(self.asks), list(self.asks.values()))[0]
                self.written.asked[doing] += 1
                self._do(doing, choices.choice(NAMES), key)
                self._over.wait(choices.uniform(0, 0.4))
        except BaseException as error:
            self._errors.append(error)

    def _do(self, doing: str, name: str, key: Path) -> None:
        match doing:
            case "create":
                self._answered(lambda: self.system.ask("create", name, self._spec))
                self._write(name)
            case "start":
                self._answered(lambda: self.system.ask("start", name))
                self._write(name)
            case "stop":
                self._write(name, tries=1)  # so that the snapshot has to hold it
                self._answered(lambda: self.system.ask("stop", name))
            case "pause" | "resume":
                self._answered(lambda: self.system.ask(doing, name))
            case "delete" if name != KEPT:
                self._answered(lambda: self.system.ask("delete", name))
            case "write":
                self._write(name)
            case "key":
                self._turn(key)

    def _answered(self, ask: Callable[[], None]) -> None:
        """A refusal is an answer: the history has it."""
        try:
            ask()
        except UNCLEAR:
            raise
        except NetvpsError:
            pass

    def _write(self, name: str, tries: int = _TRIES) -> None:
        """Writes a line and some files, if the session can be reached soon, and looks for all that it held before.

        Which session it was, of all that had this name, the session itself says.
        """
        for _ in range(tries):
            if not self._may_run(name):
                return
            line, before = os.urandom(6).hex(), dict(self.written.files)
            if answer := self.system.in_session(name, f"line={line}; {_WRITE}"):
                uid, there = _held(answer)
                self._require_all(uid, before | {(uid, line): "1"}, there)
                self.acknowledge(uid, {what: value for what, value in there.items() if line in what})
                return
            self._over.wait(_TRY_AGAIN)

    def acknowledge(self, uid: str, written: dict[str, str]) -> None:
        """Notes what was written."""
        self.written.files |= {(uid, what): value for what, value in written.items()}

    def _may_run(self, name: str) -> bool:
        """Whether its owner wants it to, or a login resumes it; also if no server answers."""
        try:
            with self.system.connect() as client:
                return client.get_session(name).desired in {DesiredState.RUNNING, DesiredState.PAUSED}
        except NotFound:
            return False
        except NetvpsError:
            return True

    def _turn(self, key: Path) -> None:
        public = key.with_suffix(".pub").read_text()
        if self.written.keys[key]:
            fingerprint = self.system.run("ssh-keygen", "-lf", f"{key}.pub").stdout.decode().split()[1]
            self.system.answered(lambda client: client.delete_ssh_key(fingerprint))
        else:
            self.system.answered(lambda client: client.create_ssh_key(public))
        self.written.keys[key] = not self.written.keys[key]

    # What dies.

    def _kill_all_the_time(self, choices: random.Random) -> None:
        for _ in range(self._kills):
            if self._errors or self._enough.is_set():
                return
            if choices.random() < _SERVES_FIRST:
                self.system.answered(lambda client: client.server_info())
            self._over.wait(choices.uniform(0, _PAUSE))
            way = choices.choices(list(self.ways), list(self.ways.values()))[0]
            self.killed[way] += 1
            self._kill_one(way, choices)

    def _kill_one(self, way: str, choices: random.Random) -> None:
        if way == "point":
            self._kill_at(choices.choice(self.points))
        elif way == "session":
            self._kill_session(choices)
        elif way == "all":
            self._kill(self.system.pid(), *self._alive().values())
            until("it starts again", self._is_up)
        else:
            alive = self._alive()
            self._kill(*(pid for name, pid in alive.items() if way in {name, "both"}))

    def _is_up(self) -> bool:
        """Whether it runs, once it was asked to start; a start may take longer than a command waits for it."""
        try:
            return self.system.up(check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _kill_at(self, point: str) -> None:
        """Or, if none passes it, wherever they are."""
        self.system.arm(point, KILL)
        with suppress(AssertionError):
            until("it is passed", lambda: self.system.victim(point) != 0, _REACHES)
        passed = self.system.victim(point) != 0
        self.system.disarm()
        if not passed:
            self._kill(*self._alive().values())

    def _kill_session(self, choices: random.Random) -> None:
        """As the kernel might, by its process 1; but never the bystander's."""
        spared = container_name(self._bystander)
        filters = ("--filter", f"label={LABEL_NODE}={self.system.runner_uid()}", "--format", "{{.Names}}")
        running = sorted(name for name in docker("ps", *filters, check=False).split() if name != spared)
        if running:
            docker("kill", choices.choice(running), check=False)

    def _alive(self) -> dict[str, int]:
        """Our processes by name. A lock may name a pid that is another's by now."""
        return {name: pid for name, pid in self.system.pids().items() if self._ours(pid)}

    def _ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"NETVPS_STATE_DIR={self.system.state}\0".encode() in environment

    def _kill(self, *pids: int) -> None:
        self.system.disturbed = FAIR.now()
        for pid in pids:
            if self._ours(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # What must be so.

    def _create_bystander(self) -> None:
        self.system.ask("create", BYSTANDER, self._spec)
        session = self.system.settled(BYSTANDER)
        assert session is not None
        self._bystander = session.uid
        command = "sleep 1000000 >/dev/null 2>&1 & echo $!"
        until("a command runs", lambda: self.system.in_session(BYSTANDER, command) is not None)
        self._undisturbed = self._bystander_state()

    def _bystander_state(self) -> str:
        form = "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}"
        return docker("inspect", "-f", form, container_name(self._bystander))

    def _require_undisturbed(self) -> None:
        """P6: the container is the same, and what runs in its background does."""
        assert self._bystander_state() == self._undisturbed
        count = "ps | grep -c '[s]leep 1000000'"
        until("its command runs on", lambda: self.system.in_session(BYSTANDER, count) is not None)

    def _require_files(self, name: str) -> None:
        """Of a session in its final state."""
        self.system.ask("start", name)
        session = self.system.settled(name)
        assert session is not None
        found: list[bytes] = []

        def read() -> bool:
            answer = self.system.in_session(name, _READ)
            found.extend([answer] if answer else [])
            return bool(found)

        until(f"the files in {name} are read", read)
        uid, there = _held(found[0])
        assert uid == session.uid
        self._require_all(uid, self.written.files, there)

    def _require_all(self, uid: str, written: dict[tuple[str, str], str], there: dict[str, str]) -> None:
        """P1, P5: what was acknowledged is there as it was; each line once."""
        own = {what: value for (session, what), value in written.items() if session == uid}
        self.written.checks.append(len(own))
        wrong = [what for what, value in own.items() if there.get(what) != value]
        assert not wrong, (
            f"P1: of {len(own)} files and lines in session {uid}, {len(wrong)} are lost, damaged or double"
        )

    def _require_keys(self) -> None:
        """A key opens a session if and only if it is registered."""
        for key, registered in self.written.keys.items():
            until(f"{key.name} opens a session: {registered}", partial(self._opens, key, wanted=registered))

    def _opens(self, key: Path, *, wanted: bool) -> bool:
        return (self.system.in_session(BYSTANDER, "true", key=key) is not None) is wanted


def _held(answer: bytes) -> tuple[str, dict[str, str]]:
    """What a session says: its uid; each file and its hash, each line and how often it is there."""
    uid, *rest = answer.decode().splitlines()
    words = [line.split() for line in rest]
    lines = Counter(first for first, *others in words if not others)
    return uid, {pair[1]: pair[0] for pair in words if len(pair) > 1} | {what: str(n) for what, n in lines.items()}


def storm(system: Faulty, image: str, seed: str, kills: int, enough: threading.Event) -> str:
    """Runs and judges one; a line about what happened. Raises AssertionError."""
    return judged(Storm(system, image, seed, kills, enough), seed)


def judged(made: Storm, seed: str) -> str:
    """Runs and judges it, as `storm` does."""
    began = time.monotonic()
    made.run()
    stormed = time.monotonic() - began
    made.judge()
    asked = ", ".join(f"{number} {what}" for what, number in sorted(made.written.asked.items()))
    killed = ", ".join(f"{number} {what}" for what, number in sorted(made.killed.items()))
    written = f"{len(made.written.files)} files and lines written, and looked for {sum(made.written.checks)} times"
    return (
        f"{seed}: {made.killed.total()} kills ({killed}) in {stormed:.0f} s during {asked}; {written}; "
        f"all as promised {time.monotonic() - began - stormed:.0f} s later"
    )
