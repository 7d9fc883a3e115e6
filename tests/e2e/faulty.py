"""A system whose processes die, fail or hang at a named point on demand, and a client that asks until it hears."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from netvps.domain.docker_names import LABEL_NODE, LABEL_SESSION
from netvps.domain.lifecycle import settled
from netvps.errors import NetvpsError, NotFound
from netvps.faults import HANG, HIT, KILL
from netvps.programs.account import user_name
from netvps.rpc import client as api
from tests.e2e.system import System, docker, unique
from tests.history.record import UNCLEAR, End, Found, History, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from netvps.domain.session import Session, SessionSpec

T = TypeVar("T")
CONVERGES = 60.0
"""Seconds (promise P7)."""
SSH_FAILED = 255
HANGS = 1.5
"""Seconds that a hanging process is left to hang."""


def until(what: str, holds: Callable[[], bool], seconds: float = CONVERGES) -> None:
    """Waits; another process is at it, so it is looked for again and again."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


class Faulty(System):
    """A system of a test that injects faults, with the history of its one client."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.environment |= {"NETVPS_ENV": "test", "NETVPS_FAULTS": str(self.faults)}
        self.history = History()
        self.lost_files: list[str] = []
        self._request = ""
        monkeypatch.setattr(api, "_request_id", lambda: self._request or unique("r"))

    def arm(self, point: str, mode: str = "kill") -> None:
        """The next process at that point does it."""
        part = self.faults / "part"
        part.write_text(mode)
        part.rename(self.faults / point)

    @contextmanager
    def struck(self, point: str, mode: str = "kill") -> Iterator[None]:
        """Arms a point for the block, which has to pass it; returns when what died is there again."""
        if not point:
            yield
            return
        before = self.pids()
        self.arm(point, mode)
        seen = threading.Event()
        watcher = threading.Thread(target=self._let_go, args=(point, mode, seen), daemon=True)
        watcher.start()
        try:
            yield
            assert seen.wait(CONVERGES), f"nobody passed {point}"
            if mode == KILL:
                until("what died is there again", lambda: self._restarted(before))
        finally:
            self.disarm()
            watcher.join(5)

    def _let_go(self, point: str, mode: str, seen: threading.Event) -> None:
        deadline = time.monotonic() + 2 * CONVERGES
        while not self.was_hit(point) and time.monotonic() < deadline:
            time.sleep(0.02)
            if not (self.faults / point).exists() and not self.was_hit(point):
                return  # disarmed
        seen.set()
        if mode == HANG:
            time.sleep(HANGS)
            self.disarm()

    def _restarted(self, before: dict[str, int]) -> bool:
        now = self.pids()
        return now != before and all(Path(f"/proc/{pid}").exists() for pid in now.values())

    def was_hit(self, point: str) -> bool:
        """Whether a process was at that point since it was armed."""
        return (self.faults / f"{point}{HIT}").exists()

    def disarm(self) -> None:
        """Takes all faults back; what hangs goes on."""
        for file in self.faults.iterdir():
            file.unlink(missing_ok=True)

    def connect(self) -> api.Client:
        """A new connection as the person who started it."""
        return api.Client(api.Endpoint(f"unix:{self.runtime / 'api.sock'}"))

    def pids(self) -> dict[str, int]:
        """Pids of control plane and runner, as their locks name them."""
        locks = {"server": self.state / "server.lock", "runner": self.state / "runner/lock"}
        return {name: int(file.read_text() or 0) for name, file in locks.items() if file.exists()}

    def ask(self, kind: Kind, name: str, spec: SessionSpec | None = None) -> None:
        """Asks for something until it is answered; all tries are one request."""

        def once(client: api.Client) -> None:
            calls = {"stop": client.stop_session, "start": client.start_session, "delete": client.delete_session}
            with self.history.operation(kind, self.full(name), self._request) as noted:
                noted.uid = (calls[kind](name) if spec is None else client.create_session(name, spec)).uid

        self.told(once)

    def told(self, call: Callable[[api.Client], T]) -> T:
        """What a call answers, made again for as long as it is unclear what became of it; all are one request."""
        self._request = unique("r")
        deadline = time.monotonic() + CONVERGES
        try:
            while True:
                try:
                    with self.connect() as client:
                        return call(client)
                except UNCLEAR as error:
                    assert time.monotonic() < deadline, f"not answered: {error}"
                    time.sleep(0.1)
        finally:
            self._request = ""

    def register_key(self) -> None:
        """As `netvps create` would."""
        public = Path(f"{self.key()}.pub").read_text()
        self.told(lambda client: client.create_ssh_key(public))

    def write_file(self, name: str, content: str) -> None:
        """Over plain ssh, once that gets through."""
        command = f"echo {content} > /root/proof; cat /root/proof"
        until(f"ssh {name} works", lambda: self.ssh(name, command, check=False).stdout == f"{content}\n".encode())

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

    def settled(self, name: str) -> Session | None:
        """The session once it is as wanted; None once it is gone."""
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
            return settled(session)

        until(f"session {name} is as wanted; it is {found[-1:]}", holds)
        return found[-1]

    def end(self) -> End:
        """What is there now."""
        with self.connect() as client:
            sessions = tuple(
                Found(s.uid, str(s.full_name), str(s.desired), str(s.state), s.address)
                for s in client.list_sessions("-")
            )
            subnets = tuple(runner.lease.cidr for runner in client.list_runners())
        mine = f"label={LABEL_NODE}={self.runner_uid()}"
        form = f'{{{{.Label "{LABEL_SESSION}"}}}}'
        containers = docker("ps", "-a", "--filter", mine, "--format", form).split()
        # Without -a: what a newer snapshot stands on is part of that, and not listed.
        images = docker("images", "-q", "--no-trunc", "--filter", mine).split()
        form = f'{{{{index .Config.Labels "{LABEL_SESSION}"}}}} {{{{range .RepoTags}}}}{{{{.}}}}{{{{end}}}}'
        lines = docker("inspect", "--format", form, *sorted(set(images))).splitlines() if images else []
        snapshots = tuple((line.split()[0], line.partition(" ")[2]) for line in lines)
        return End(sessions, tuple(containers), snapshots, subnets, tuple(self.lost_files))
