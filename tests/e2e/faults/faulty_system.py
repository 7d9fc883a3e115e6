"""A system on an engine of its own, under faults; and what must hold when they are over."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from netvps.domain.runner.docker_names import LABEL_SESSION
from netvps.domain.session.lifecycle import settled
from netvps.domain.session.session import DesiredState
from netvps.errors import NetvpsError, NotFound
from netvps.rpc.client.client import Client, Endpoint
from tests.e2e.faults.own_engine import Engine
from tests.e2e.kills.faulty import until
from tests.e2e.system import NETVPS, System

if TYPE_CHECKING:
    from netvps.domain.session.session import Session

E = TypeVar("E", bound=Engine)


class FaultySystem(System, Generic[E]):
    """`netvps up` on that engine, in folders of its own, and a person with a key."""

    def __init__(self, engine: E) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="nvt-")))
        self.engine = engine
        self.environment |= engine.environment

    def client(self) -> Client:
        """A new connection as the person who started it."""
        return Client(Endpoint(f"unix:{self.runtime / 'api.sock'}"))

    def register_key(self) -> None:
        """As `netvps create` would."""
        with self.client() as client:
            client.create_ssh_key(Path(f"{self.key()}.pub").read_text())

    def session(self, name: str) -> Session | None:
        """Its present state; None if it is gone."""
        with self.client() as client:
            try:
                return client.get_session(name)
            except NotFound:
                return None

    def settled(self, name: str) -> Session | None:
        """The session once it is as wanted, or failed to get there; None once it is gone."""
        seen: list[Session | None] = []

        def holds() -> bool:
            try:
                seen.append(self.session(name))
            except NetvpsError:
                return False
            return seen[-1] is None or settled(seen[-1])

        try:
            until(f"session {name} is as wanted", holds)
        except AssertionError as late:
            raise AssertionError(f"{late}; it is {seen[-1:]}") from None
        return seen[-1]

    def write_file(self, name: str, content: str) -> None:
        """Over plain ssh, once that gets through."""
        command = f"echo {content} > /root/proof; cat /root/proof"
        until(f"ssh {name} works", lambda: self.ssh(name, command, check=False).stdout == f"{content}\n".encode())

    def require_file(self, name: str, content: str) -> None:
        """It is there, as soon as ssh gets through."""
        answers: list[bytes] = []

        def answered() -> bool:
            answer = self.ssh(name, "cat /root/proof", check=False)
            answers.append(answer.stdout)
            return answer.returncode != 255

        until(f"ssh {name} works", answered)
        assert answers[-1] == f"{content}\n".encode()

    def wrong(self) -> list[str]:
        """What exists and should not, or is missing, in sentences."""
        with self.client() as client:
            sessions = list(client.list_sessions("-"))
        wanted = sorted(session.uid for session in sessions if session.desired is DesiredState.RUNNING)
        form = f'{{{{.Label "{LABEL_SESSION}"}}}}'
        containers = sorted(self.engine.docker("ps", "--filter", self._mine(), "--format", form).split())
        return [
            *([] if containers == wanted else [f"containers of {containers} run, wanted are {wanted}"]),
            *self.wrong_images(),
        ]

    def wrong_images(self) -> list[str]:
        """Images that are no whole snapshot of a session that there is."""
        with self.client() as client:
            uids = [session.uid for session in client.list_sessions("-")]
        images = self.engine.docker("images", "--filter", self._mine(), "--format", "{{.Repository}}:{{.Tag}}").split()
        return [f"image {image} is orphaned" for image in images if not any(f"vps-{uid}:" in image for uid in uids)]

    def _mine(self) -> str:
        return f"label=netvps.node={self.runner_uid()}"

    def pids(self) -> dict[str, int]:
        """Pids of server and runner, as their locks name them."""
        locks = {"server": self.state / "server.lock", "runner": self.state / "runner/lock"}
        return {name: int(file.read_text() or 0) for name, file in locks.items()}

    def kill(self, program: str) -> None:
        """kill -9 of "server" or "runner"; returns when another is there."""
        pid = self.pids()[program]
        os.kill(pid, signal.SIGKILL)
        until("another is there", lambda: self.pids()[program] not in {0, pid})

    def kill_all(self) -> None:
        """kill -9 of all of its programs."""
        for pid in (self.pid(), *self.processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until("nothing of it runs", lambda: not self.processes())

    def boot(self) -> None:
        """Starts it as on a machine that has just started: without its runtime folder, by the kernel's clock, too.

        /proc/stat (proc(5)) is the test's own in a mount namespace of the programs.
        """
        for mount in [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]:
            if mount.startswith(f"{self.runtime}/"):
                self.run("umount", "-l", mount)
        shutil.rmtree(self.runtime)
        stat = self.home / "stat"
        stat.write_text(re.sub(r"(?m)^btime .*$", f"btime {time.time():.0f}", Path("/proc/stat").read_text()))
        script = 'mount --bind "$0" /proc/stat && exec "$@"'
        self.run("unshare", "--mount", "--propagation", "slave", "sh", "-c", script, stat, *NETVPS, "up")

    def doctor(self) -> dict[str, str]:
        """The verdict of each check of `netvps doctor`, the worst where there are several of a name."""
        found = json.loads(self.netvps("doctor", "-o", "json", check=False).stdout)
        order = ("ok", "warn", "fail")
        return {
            one["check"]: max((same["verdict"] for same in found if same["check"] == one["check"]), key=order.index)
            for one in found
        }

    def logged(self, begin: str) -> int:
        """How many lines of the log have an event that begins like this."""
        lines = (self.state / "up.log").read_text().splitlines()
        return sum(str(json.loads(line)["event"]).startswith(begin) for line in lines if line.startswith('{"'))

    def destroy(self) -> None:
        """Ends it, and removes its folders, and what it made in its engine, if that is there."""
        self.netvps("down", check=False)
        if self.runner_uid():
            if containers := self.engine.docker("ps", "-aq", "--filter", self._mine(), check=False).split():
                self.engine.docker("rm", "-f", *containers, check=False)
            if images := self.engine.docker("images", "-aq", "--filter", self._mine(), check=False).split():
                self.engine.docker("rmi", "-f", *images, check=False)
            if networks := self.engine.docker("network", "ls", "-q", "--filter", self._mine(), check=False).split():
                self.engine.docker("network", "rm", *networks, check=False)
        shutil.rmtree(self.state.parent, ignore_errors=True)
