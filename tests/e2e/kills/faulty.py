"""A system whose processes die, fail or hang at a named point on demand, and clients that ask until they hear."""

from __future__ import annotations

import os
import pkgutil
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from netvps.domain.session.lifecycle import settled
from netvps.errors import NetvpsError, NotFound
from netvps.faults import HIT, KILL
from netvps.process.account import user_name
from netvps.rpc.client import calls
from netvps.rpc.client import client as api
from tests.e2e.kills.leftovers import found_at_the_end
from tests.e2e.system import System, unique
from tests.history.check import violations
from tests.history.record import UNCLEAR, History, Kind
from tests.support.fair_clock import FAIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.domain.session.session import Session
    from netvps.domain.session.spec import SessionSpec
    from tests.history.record import End

T = TypeVar("T")
CONVERGES = 60.0
"""Seconds on a machine that does nothing else (promise P7)."""
HEARTBEAT = 0.5
"""Seconds; a runner whose stream is gone for three of them is offline, which is sooner than it restarts."""
SSH_FAILED = 255
_TAIL = 40


def until(what: str, holds: Callable[[], bool], seconds: float = CONVERGES) -> None:
    """Waits; another process is at it, so it is looked for again and again, ever less often: looking is work, too."""
    deadline, pause = FAIR.now() + seconds, 0.05
    while not holds():
        assert FAIR.now() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)
        pause = min(1.3 * pause, 0.5)


class Faulty(System):
    """A system of a test that injects faults, with the history of its clients, of which each is a thread."""

    def __init__(self, database_url: str, agents: Path) -> None:
        """On SQLite if the URL is empty; `agents` is the folder of agents that were built with fault points."""
        folder = Path(tempfile.mkdtemp(prefix="nvk-"))
        super().__init__(folder)
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.disturbed = 0.0
        """When something was killed last, on the fair clock: it is due to work that long after it."""
        self.environment |= {
            "NETVPS_ENV": "test",
            "NETVPS_FAULTS": str(self.faults),
            "NETVPS_AGENT_DIR": str(agents),
            "NETVPS_HEARTBEAT_INTERVAL": str(HEARTBEAT),
            "PYTHONDONTWRITEBYTECODE": "",  # they start hundreds of times
        }
        if database_url:
            self.environment["NETVPS_DATABASE_URL"] = database_url
        self.history = History()
        self.lost_files: list[str] = []

    def arm(self, point: str, mode: str = KILL) -> None:
        """The next process at that point does it."""
        part = self.faults / "part"
        part.write_text(mode)
        part.rename(self.faults / point)

    @contextmanager
    def struck(self, point: str, mode: str) -> Iterator[None]:
        """Arms a point for the block, which has to pass it; returns when what died is there again."""
        before = self.pids()
        self.arm(point, mode)
        try:
            yield
            until(f"a program passes {point}", lambda: self.victim(point) != 0)
            if mode == KILL and self.victim(point) in before.values():
                until("what died is there again", lambda: self._restarted(before))
        finally:
            self.disarm()

    def victim(self, point: str) -> int:
        """The pid of the process that was at that point since it was armed; 0 if none was."""
        try:
            return int((self.faults / f"{point}{HIT}").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def disarm(self) -> None:
        """Takes all faults back."""
        for file in self.faults.iterdir():
            file.unlink(missing_ok=True)

    def pids(self) -> dict[str, int]:
        """Pids of control plane and runner, as their locks name them."""
        locks = {"server": self.state / "server.lock", "runner": self.state / "runner/lock"}
        return {name: int(file.read_text() or 0) for name, file in locks.items() if file.exists()}

    def _restarted(self, before: dict[str, int]) -> bool:
        now = self.pids()
        return now != before and all(Path(f"/proc/{pid}").exists() for pid in now.values())

    def connect(self) -> api.Client:
        """A new connection as the person who started it."""
        return api.Client(api.Endpoint(f"unix:{self.runtime / 'api.sock'}"))

    def ask(self, kind: Kind, name: str, spec: SessionSpec | None = None) -> None:
        """Asks for something until it is answered; all tries are one request."""

        calls: dict[Kind, Callable[[api.Client], Session]] = {
            "stop": lambda client: client.stop_session(name),
            "start": lambda client: client.start_session(name),
            "pause": lambda client: client.pause_session(name),
            "resume": lambda client: client.resume_session(name),
            "delete": lambda client: client.delete_session(name),
        }
        self.noted(kind, name, calls[kind] if spec is None else lambda client: client.create_session(name, spec))

    def noted(self, kind: Kind, name: str, call: Callable[[api.Client], Session]) -> str:
        """As `ask`, by another call that amounts to that; the uid of the session."""

        def once(client: api.Client) -> str:
            with self.history.operation(kind, self.full(name), _asking.request) as noted:
                noted.uid = call(client).uid
            return noted.uid

        return self.answered(once)

    def answered(self, call: Callable[[api.Client], T], patience: float = 0.0) -> T:
        """What a call answers, made again until its outcome is known; all are one request.

        With `patience`, raises the error after that many seconds; else it has to be known soon after the last death.
        """
        _asking.request = unique("r")
        began = FAIR.now()
        try:
            while True:
                try:
                    with self.connect() as client:
                        return call(client)
                except UNCLEAR as error:
                    if patience and FAIR.now() > began + patience:
                        raise
                    due = max(began, self.disturbed) + CONVERGES
                    assert FAIR.now() < due, f"not answered: {error}"
                    time.sleep(0.2)
        finally:
            _asking.request = ""

    def in_session(self, name: str, command: str, key: Path | None = None) -> bytes | None:
        """What a command prints in a session, over plain ssh; None if it did not run, or not to its good end."""
        try:
            answer = self.ssh(name, command, check=False, key=key)
        except subprocess.TimeoutExpired:  # a login waits for a session that starts
            return None
        return answer.stdout if answer.returncode == 0 else None

    def write_file(self, name: str, content: str) -> None:
        """Idempotency ssh gets through."""
        command = f"echo {content} > /root/proof; cat /root/proof"
        until(f"ssh {name} works", lambda: self.in_session(name, command) == f"{content}\n".encode())

    def require_file(self, name: str, content: str) -> None:
        """The file of `write_file` is there."""
        answers: list[bytes] = []

        def answered() -> bool:
            answer = self.ssh(name, "cat /root/proof", check=False)
            answers.append(answer.stdout)
            return answer.returncode != SSH_FAILED

        until(f"ssh {name} works", answered)
        if answers[-1] != f"{content}\n".encode():
            self.lost_files.append(self.full(name))

    def full(self, name: str) -> str:
        """NAME.OWNER"""
        return f"{name}.{user_name()}"

    def settled(self, name: str, *, fails: bool = False) -> Session | None:
        """The session once it is as wanted, or, if it `fails`, could not get there; None once it is gone."""
        found: list[Session | None] = []

        def holds() -> bool:
            try:
                with self.connect() as client:
                    session = client.get_session(name)
            except NotFound:
                found.append(None)
                return True
            except NetvpsError:
                return False
            found.append(session)
            return self.rests(session)

        until(f"session {name} comes to rest", holds)
        last = found[-1]
        assert last is None or (last.state == "FAILED") is fails, f"session {name} is {last.state}: {last.message}"
        return last

    def rests(self, session: Session) -> bool:
        """Whether nothing happens to it any more unless it is asked for."""
        return settled(session)

    def end(self) -> End:
        """What exists now. Raises NetvpsError if no server answers."""
        with self.connect() as client:
            sessions = list(client.list_sessions("-"))
            runners = list(client.list_runners())
        return found_at_the_end(self, sessions, runners, self.lost_files)

    def until_right(self) -> None:
        """What is removed after the control plane knows of it (older snapshots) may take a moment more."""
        found: list[list[str]] = []

        def right() -> bool:
            try:
                found.append(violations(self.history, self.end()))
            except NetvpsError:
                return False
            return not found[-1]

        try:
            until("all is as promised", right)
        except AssertionError as late:
            raise AssertionError(f"{found[-1:]}") from late

    def story(self, kept: Path) -> str:
        """What was asked and answered, and what the programs said last, for whoever looks into a failure.

        Their whole log is copied to `kept`.
        """
        asked = [str(operation) for operation in self.history.operations[-_TAIL:]]
        log = self.state / "up.log"
        if not log.exists():
            return "\n".join(asked)
        shutil.copy(log, kept)
        said = [line for line in log.read_text(errors="replace").splitlines() if '"ssh ' not in line]
        return "\n".join([*asked, "", *said[-_TAIL:], f"the whole log: {kept}"])


_asking = threading.local()


@contextmanager
def own_request_ids() -> Iterator[None]:
    """For the block, clients' requests have the id that `answered` gave them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in pkgutil.iter_modules(calls.__path__, f"{calls.__name__}."):
            patch.setattr(f"{module.name}.new_request_id", _request_id, raising=False)
        yield


def _request_id() -> str:
    return getattr(_asking, "request", "") or os.urandom(16).hex()
