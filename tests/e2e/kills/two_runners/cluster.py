"""A control plane and two runners with an engine each, on a lab's hosts, that are started again whenever they die.

host 1: dockerd, server, runner ──── switch ──── host 2: dockerd with live-restore, runner
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.moves.move import OPEN
from netvps.domain.runner.runner import RunnerState
from netvps.process.agent_program import agent_program
from netvps.programs.wiring.identity import FOLDER, load_identity
from netvps.rpc.client.client import Client
from tests.e2e.kills.faulty import HEARTBEAT, Faulty, until
from tests.e2e.kills.leftovers import Parts, Place, parts_at
from tests.e2e.overlay.overlay_lab import Host, Lab
from tests.e2e.system import Answer
from tests.history.record import End, Found
from tests.support.fair_clock import FAIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from netvps.domain.session.session import Session

SERVER: Final = "server"
_ENGINE: Final = "engine of "
_ADDRESS: Final = "192.0.2.1"
_PORT: Final = "2222"
_AGAIN: Final = 0.2
"""Seconds until what died is started again."""


class Program:
    """A process of one kind, of which there is one at a time."""

    def __init__(self, process: Callable[[], subprocess.Popen[bytes] | None], start: Callable[[], None]) -> None:
        self._process, self._start = process, start
        self.held = False
        """It is not started again."""

    @property
    def pid(self) -> int:
        """0 if it does not run."""
        process = self._process()
        return process.pid if process and process.poll() is None else 0

    def kill(self) -> None:
        process = self._process()
        if process and process.poll() is None:
            process.kill()

    def keep(self) -> None:
        """Starts it unless it runs, or is held."""
        if not self.held and not self.pid:
            self._start()


class Engine:
    """dockerd of a host, with the flags that the lab gave it."""

    def __init__(self, host: Host, *flags: str) -> None:
        self._host = host
        self._folder = Path(host.docker_host.removeprefix("unix://")).parent
        first = int((self._folder / "pid").read_text())
        words = Path(f"/proc/{first}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        self._command = [*host.inside, *words, *flags]
        os.kill(first, signal.SIGTERM)
        until("the engine ended", lambda: not Path(f"/proc/{first}").exists())
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        until("the engine answers", lambda: host.docker("version", check=False) != "")

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def running(self) -> subprocess.Popen[bytes] | None:
        """Its process."""
        return self.process

    def kill(self) -> None:
        """kill -9, its containerd too; its containers live on."""
        if self.process:
            self.process.kill()
            self.process.wait()
        file = self._folder / "exec/containerd/containerd.pid"
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
        file.unlink(missing_ok=True)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


class Cluster(Faulty):
    """A system of two machines, with the history of its clients. `start` it, `destroy` it in the end."""

    def __init__(self) -> None:
        super().__init__("", agent_program().parent)
        self.lab = Lab(2)
        self.engines: dict[str, Engine] = {}
        self.programs: dict[str, Program] = {}
        self.abandoned: set[str] = set()
        """Uids of sessions that went on from a copy: what they left on the lost machine is kept."""
        self._down = threading.Lock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_all, daemon=True)

    def start(self) -> None:
        self.lab.__enter__()
        hosts = self.lab.hosts
        for host in hosts:
            host.environment |= {
                "NETVPS_ENV": "test",
                "NETVPS_FAULTS": str(self.faults),
                "NETVPS_HEARTBEAT_INTERVAL": str(HEARTBEAT),
                "PYTHONDONTWRITEBYTECODE": "",  # they start many times
            }
            name = f"box{host.number}"
            engine = Engine(host, *(["--live-restore"] if host.number > 1 else []))
            self.engines[name] = engine
            self.programs[f"{_ENGINE}{name}"] = Program(engine.running, engine.start)
            self.programs[name] = Program(partial(getattr, host, "runner"), host.start_process)
        self.lab.stop_server()
        self.lab.start_server()
        self.programs[SERVER] = Program(lambda: self.lab.server, self.lab.spawn_server)
        for host in hosts:
            host.start_process()
        until("both runners are online", lambda: self.lab.online() == len(hosts))
        self.answered(lambda client: client.create_ssh_key(self.key().with_suffix(".pub").read_text()))
        self._keeper.start()

    def destroy(self) -> None:
        """Removes all of it, whatever state it is in."""
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for host in self.lab.hosts:
            host.stop_runner(signal.SIGKILL)
        for engine in self.engines.values():
            engine.stop()
        self.lab.__exit__()
        shutil.rmtree(self.faults.parent, ignore_errors=True)

    def _keep_all(self) -> None:
        while not self._over.wait(_AGAIN):
            for program in self.programs.values():
                with suppress(OSError):
                    program.keep()

    # As a person and a client see it.

    def connect(self) -> Client:
        """A new connection as the administrator."""
        return self.lab.client()

    def ssh(self, user: str, *command: str, check: bool = True, key: Path | None = None, **options: object) -> Answer:
        """Runs a command in a session over plain ssh, from host 1."""
        chosen = [f"Port={_PORT}" if word.startswith("Port=") else word for word in self.ssh_options(user, key)]
        return self.run(*self.lab.hosts[0].inside, "ssh", *chosen, _ADDRESS, *command, check=check, **options)  # type: ignore[arg-type]

    def rests(self, session: Session) -> bool:
        """Neither does it move, nor is it restored."""
        if not super().rests(session) or session.pending_restore:
            return False
        moves = self.answered(lambda client: client.list_moves(str(session.full_name)))
        return not moves or moves[0].stage not in OPEN

    # What dies.

    def pids(self) -> dict[str, int]:
        """Of what runs, by name."""
        return {name: pid for name, program in self.programs.items() if (pid := program.pid)}

    def kill(self, *names: str) -> None:
        """Programs and engines die at once, and are started again."""
        self.disturbed = FAIR.now()
        for name in names:
            if name.startswith(_ENGINE):
                self.programs[name].held = True
                self.engines[name.removeprefix(_ENGINE)].kill()
                self.programs[name].held = False
            else:
                self.programs[name].kill()

    @contextmanager
    def down(self, runner: str) -> Iterator[None]:
        """For the block, a runner is killed and not started again; one at a time."""
        with self._down:
            self.programs[runner].held = True
            try:
                self.kill(runner)
                yield
            finally:
                self.disturbed = FAIR.now()
                self.programs[runner].held = False

    def offline(self, runner: str) -> bool:
        """Whether the control plane takes it for that."""
        with self.connect() as client:
            states = {view.runner.name: view.runner.state for view in client.list_runners()}
        return states.get(runner) is RunnerState.OFFLINE

    def cut(self, seconds: float) -> None:
        """No packet gets from one machine to the other for a while."""
        switch = f"{self.lab.prefix}-switch"
        link = ("ip", "-n", switch, "link", "set", "port2")
        self.disturbed = FAIR.now()
        subprocess.run([*link, "down"], check=True, timeout=30)
        try:
            time.sleep(seconds)
        finally:
            subprocess.run([*link, "up"], check=True, timeout=30)
            self.disturbed = FAIR.now()

    # What exists on the machines.

    def host(self, runner: str) -> Host:
        return next(host for host in self.lab.hosts if f"box{host.number}" == runner)

    def places(self) -> dict[str, Place]:
        """By name of the runner."""
        return {f"box{host.number}": _place(host) for host in self.lab.hosts}

    def end(self) -> End:
        """What exists now, on both machines. Raises NetvpsError if no server answers."""
        with self.connect() as client:
            sessions = list(client.list_sessions("-"))
            snapshots = list(client.list_snapshots(parent="-"))
            runners = list(client.list_runners())
        at = {one.uid: one.runner_name for one in sessions}
        parts = {name: self._parts(name, place, at) for name, place in self.places().items()}
        held = {one.uid: {holder.name for holder in one.holders} for one in snapshots}
        unlisted = [
            (snapshot, f"archive {path} of a snapshot")
            for name in parts
            for snapshot, session, path in self._archives(name)
            if name not in held.get(snapshot, ()) and session not in self.abandoned
        ]
        return End(
            tuple(map(_found, sessions)),
            tuple(uid for one in parts.values() for uid in one.containers),
            tuple((uid, name and f"{where}: {name}") for where, one in parts.items() for uid, name in one.images),
            tuple(runner.lease.cidr for runner in runners),
            tuple(self.lost_files),
            tuple(uid for one in parts.values() for uid in one.running),
            (*(pair for one in parts.values() for pair in one.others), *unlisted),
        )

    def _parts(self, name: str, place: Place, at: dict[str, str]) -> Parts:
        """Without what is kept of sessions that went on elsewhere while their machine was lost."""
        found = parts_at(place)
        left = {uid for uid in self.abandoned if at.get(uid, name) != name} - set(found.running)
        return Parts(
            tuple(uid for uid in found.containers if uid not in left), found.running, found.images, found.others
        )

    def _archives(self, name: str) -> Iterable[tuple[str, str, Path]]:
        """Uid of the snapshot, uid of the session, and file."""
        for path in self.copies(name).glob("snapshots/*-*"):
            session, snapshot = path.name.partition(".")[0].split("-", 1)
            yield snapshot, session, path

    def copies(self, runner: str) -> Path:
        """The folder of the archives on a machine."""
        return self.host(runner).folder / "s" / FOLDER / "copies"

    def nothing_left(self) -> bool:
        """Whether there is nothing of any session on any machine."""
        for name, place in self.places().items():
            files = [*self.copies(name).glob("snapshots/*"), *self.copies(name).glob("*.*")]
            there = parts_at(place)
            if files or there.containers or there.images or there.others:
                return False
        return True

    def story(self, kept: Path) -> str:
        """What was asked and answered, and where the logs are."""
        asked = [str(operation) for operation in self.history.operations[-40:]]
        kept.mkdir(exist_ok=True)
        for folder in ("server", *(str(host.number) for host in self.lab.hosts)):
            log = self.lab.folder / folder / "log"
            if log.exists():
                shutil.copy(log, kept / f"{folder}.log")
        return "\n".join([*asked, f"the logs: {kept}"])


def _place(host: Host) -> Place:
    identity = load_identity(host.folder / "s")
    assert identity
    return Place(identity.uid, host.folder / "s", host.folder / "r", host.docker_host, host.inside)


def _found(session: Session) -> Found:
    return Found(
        session.uid, str(session.full_name), str(session.desired), str(session.state), session.address, session.reason
    )
