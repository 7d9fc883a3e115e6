"""Random changes of an overlay, one after the other without waiting, and the judgement in the end.

What would by itself cut the two sessions that ping each other is done to the other hosts alone; what must lose nothing
is done to all. A seed fixes what is chosen; what happens besides depends on the machine's mood.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self, TypeVar

from netvps.domain.overlay.settings import bridge_address
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import NetvpsError
from netvps.rpc.client import client as api
from tests.e2e.kills.judged import accepts, wrong
from tests.e2e.overlay import damage
from tests.e2e.overlay.overlay_lab import API, IMAGE, Host, Lab, Session, wait
from tests.history.record import UNCLEAR
from tests.support.images import BUSYBOX

T = TypeVar("T")
Steps = list[tuple[str, ...]]
"""Arguments of `ip`, each for a command about eth0."""
_KINDS: Final = {
    "entry": 24,
    "planted": 10,
    "setting": 8,
    "filter": 8,
    "cut": 14,
    "underlay": 5,
    "guest": 12,
    "session": 9,
    "runner": 7,
    "server": 2,
    "member": 1,
}
"""What is done, and how often in a hundred."""
_PAUSE: Final = 0.3
"""Seconds at most from one change to the next."""
_AGAIN: Final = 0.2
_AWAY: Final = 2.0
"""Seconds at most that a process is not there after it was killed."""
_NAMES: Final = ("ada", "bob", "cyd")
_GUESTS: Final = 12
_SPEC: Final = SessionSpec(image=IMAGE, memory_bytes=64 << 20, network=Network.OVERLAY, stop_grace=0)


@dataclass
class Changes:
    """A context manager: at its end nothing that it started runs. `run` it, then `judge`.

    The last of the lab's hosts leaves and joins; the first two have the sessions that must not notice.
    """

    lab: Lab
    pair: tuple[Session, Session]
    seed: str
    history: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._choices = random.Random(self.seed)
        self._began = time.monotonic()
        self._clock = f"{datetime.now(UTC):%T.%f}"
        self._later: list[tuple[float, str, Callable[[], object]]] = []
        self._pool = ThreadPoolExecutor(2)
        self._busy: dict[str, Future[None]] = {}
        self._server_away = False
        self._guests: list[str] = []
        self._guest_number = 0
        self._spared = frozenset(session.host.view_and_kernel()[0].lease.cidr for session in self.pair)
        self._accepts = accepts(self.lab.hosts[0])
        self._socket = self.lab.folder / "server/r/api.sock"

    def __enter__(self) -> Self:
        command = [*self.lab.hosts[0].inside, sys.executable, "-m", "tests.e2e.overlay.guests", API]
        self._crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._crowd.kill()
        self._crowd.communicate()
        self._pool.shutdown()

    @property
    def began(self) -> float:
        """On the monotonic clock."""
        return self._began

    def run(self, count: int) -> None:
        """So many changes, then all that is away is back."""
        while self.done.total() < count:
            self._catch_up(time.monotonic())
            kind = self._choices.choices(list(_KINDS), list(_KINDS.values()))[0]
            if said := getattr(self, f"_{kind}")():
                self.done[kind] += 1
                self._note(said)
                time.sleep(self._choices.uniform(0, _PAUSE))
        self._catch_up(float("inf"))
        for busy in self._busy.values():
            busy.result()
        assert self._crowd.stdin
        self._crowd.stdin.close()
        self._crowd.wait(60)

    def judge(self) -> None:
        """Every kernel and every filter is as planned for the runners that the server knows, and names are known there.

        Raises AssertionError, also if a runner logged a bug.
        """
        members = sum(
            view.runner.underlay is not None for view in self._answered(lambda client: [*client.list_runners()])
        )
        for host in self.lab.hosts:
            if host.runner:
                self._nudge(host)
                found = self._wrong_at_last(host, members)
                assert not found, f"host {host.number}: {found}"
            said = [line for line in host.log.splitlines() if "exception" in line or "bug" in line]
            assert not said, said

    def story(self) -> str:
        """All that was done, what is wrong now, and what the two runners said that must not be noticed."""
        states = [f"host {host.number}: {wrong(host)}" for host in self.lab.hosts]
        logs = [f"host {host.number} said: {line}" for host in self.lab.hosts[:2] for line in host.log.splitlines()]
        return "\n".join([f"began {self._clock}", *self.history, *states, *logs])

    def _wrong_at_last(self, host: Host, members: int) -> list[str]:
        """Once all is right, that is enough: a session whose deletion was asked for may go right afterwards."""
        found: list[str] = []

        def right() -> bool:
            found[:] = self._wrong(host, members)
            return not found

        with suppress(AssertionError):
            wait(right, "as planned")
        return found

    def _wrong(self, host: Host, members: int) -> list[str]:
        if found := wrong(host, members):
            return found
        try:
            there, view = accepts(host), host.view_and_kernel()[0]
        except AssertionError as error:  # another task is just about to change it
            return [str(error)]
        if there != self._accepts:
            found.append(f"{there} in place of {self._accepts}")
        bridge, one = bridge_address(view.lease.cidr), self.pair[0]
        if one.name not in host.namespace.run(str(BUSYBOX), "nslookup", one.address, bridge, check=False):
            found.append(f"{bridge} does not know whose {one.address} is")
        return found

    def _note(self, said: str) -> None:
        self.history.append(f"{time.monotonic() - self._began:7.2f} {said}")

    def _catch_up(self, now: float) -> None:
        """What was put off until now; `inf`: all of it."""
        for item in sorted(self._later, key=lambda item: item[0]):
            if item[0] <= now:
                self._later.remove(item)
                self._note(item[1])
                item[2]()

    def _put_off(self, most: float, said: str, work: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + self._choices.uniform(0, most), said, work))

    def _others(self) -> list[Host]:
        return [host for host in self.lab.hosts[2:] if host.runner and not self._is_busy(f"host {host.number}")]

    def _all(self) -> list[Host]:
        return [*self.lab.hosts[:2], *self._others()]

    def _is_busy(self, what: str) -> bool:
        return what in self._busy and not self._busy[what].done()

    def _answered(self, call: Callable[[api.Client], T]) -> T:
        """What a call answers, made again until it is answered."""
        while True:
            try:
                with api.Client(api.Endpoint(f"unix:{self._socket}")) as client:
                    return call(client)
            except UNCLEAR:
                time.sleep(_AGAIN)

    # What is done to the kernel.

    def _damage(self, hosts: list[Host], choose: damage.Damage) -> str:
        host = self._choices.choice(hosts)
        spared = self._spared if host in self.lab.hosts[:2] else frozenset[str]()
        command = choose(host, self._choices, spared)
        if command is None:
            return ""
        host.namespace.run(*command, check=False)  # it may be gone by now
        return f"host {host.number}: {' '.join(command)}"

    def _entry(self) -> str:
        return self._damage(self._all(), damage.entry)

    def _planted(self) -> str:
        return self._damage(self._all(), damage.planted)

    def _setting(self) -> str:
        return self._damage(self._all(), damage.setting)

    def _filter(self) -> str:
        return self._damage(self._all(), damage.filter_)

    def _cut(self) -> str:
        return self._damage(self._others(), damage.cut) if self._others() else ""

    def _underlay(self) -> str:
        """Its address, its MTU or its link changes, and changes back."""
        if not self._others():
            return ""
        host = self._choices.choice(self._others())
        own, other = f"{host.underlay}/24", f"192.0.2.{100 + host.number}/24"
        move: Steps = [("address", "replace", other), ("address", "delete", own)]
        ways: list[tuple[Steps, Steps]] = [
            (move, [("address", "replace", own), ("address", "delete", other)]),
            ([("link", "set", "mtu", "1400")], [("link", "set", "mtu", "1500")]),
            ([("link", "set", "down")], [("link", "set", "up")]),
        ]
        there, back = self._choices.choice(ways)

        def do(steps: Steps) -> None:
            for step in steps:
                host.namespace.ip(*step, "dev", "eth0", check=False)

        do(there)
        said = f"host {host.number}: eth0: {there}"
        self._put_off(_AWAY, f"{said} back", partial(do, back))
        return said

    # What is done to the cluster.

    def _guest(self) -> str:
        """A runner that is nowhere joins, or says that it has another address, or is removed."""
        doing = self._choices.choice(("join", "move", "remove")) if self._guests else "join"
        if self._server_away or (doing == "join" and len(self._guests) >= _GUESTS):
            return ""
        visit: dict[str, Any] = {"address": f"192.0.2.{self._choices.randrange(150, 249)}"}
        visit["mtu"] = self._choices.choice((1450, 1300))
        if doing == "join":
            self._guest_number += 1
            name = f"guest{self._guest_number}"
            self._guests.append(name)
            visit["token"] = self._answered(lambda client: client.create_join_token()[0])
        else:
            name = self._choices.choice(self._guests)
        if doing == "remove":
            self._guests.remove(name)
            with suppress(NetvpsError):  # it has not come yet
                self._answered(lambda client: client.delete_runner(name))
            return f"{name} is removed"
        assert self._crowd.stdin
        self._crowd.stdin.write(json.dumps({"name": name, **visit}) + "\n")
        self._crowd.stdin.flush()
        return f"{name}: {doing} {visit['address']} {visit['mtu']}"

    def _session(self) -> str:
        doing, name = self._choices.choice(("create", "stop", "start", "delete")), self._choices.choice(_NAMES)
        if self._server_away:
            return ""

        def ask(client: api.Client) -> object:
            calls = {"stop": client.stop_session, "start": client.start_session, "delete": client.delete_session}
            return client.create_session(name, _SPEC) if doing == "create" else calls[doing](name)

        with suppress(NetvpsError):  # a refusal is an answer
            self._answered(ask)
        return f"{doing} {name}"

    def _runner(self) -> str:
        host = self._choices.choice(self._all())
        if host.runner is None:
            return ""
        host.stop_runner(signal.SIGKILL)
        self._put_off(_AWAY, f"host {host.number}: its runner starts", host.start_process)
        return f"host {host.number}: its runner is killed"

    def _server(self) -> str:
        if self._server_away or self._is_busy("server"):
            return ""
        self.lab.stop_server(signal.SIGKILL)
        self._server_away = True

        def start() -> None:
            self.lab.start_server()
            self._server_away = False

        def begin() -> None:
            self._busy["server"] = self._pool.submit(start)

        self._put_off(_AWAY, "the server starts", begin)
        return "the server is killed"

    def _member(self) -> str:
        """The last host leaves for good, or joins as a new one."""
        host = self.lab.hosts[-1]
        work = self._leave if host.runner else self._join
        if self._is_busy(f"host {host.number}") or (host.runner and host not in self._others()):
            return ""
        if any(f"host {host.number}:" in said for _, said, _ in self._later):
            return ""
        self._busy[f"host {host.number}"] = self._pool.submit(work, host)
        return f"host {host.number}: {work.__name__}"

    def _leave(self, host: Host) -> None:
        host.stop_runner(signal.SIGKILL)
        self._answered(lambda client: client.delete_runner(f"box{host.number}", force=True))
        if containers := host.docker("ps", "-aq").split():
            host.docker("rm", "-f", *containers)
        host.netvps("network", "purge", "--docker-host", host.docker_host)
        shutil.rmtree(host.folder / "s")

    def _join(self, host: Host) -> None:
        def joined() -> bool:
            try:
                host.start_runner()
            except AssertionError:  # no server just now
                host.runner = None
            return host.runner is not None

        wait(joined, f"host {host.number} joins")

    def _nudge(self, host: Host) -> None:
        """No event reports a sysctl or a rule. The next look finds it: in half a minute, or when an address changes."""
        host.namespace.ip("address", "add", "198.51.100.99/32", "dev", "lo")
        host.namespace.ip("address", "delete", "198.51.100.99/32", "dev", "lo")
