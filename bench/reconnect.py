"""`reconnect`: 200 sessions on one runner, after `kill -9` of the server, of the runner, and of Docker.

The machine is a namespace with a Docker engine of its own. Server: from the first answer of the new one until all
agents are connected. Runner: from the kill until all agents are connected. Docker (without live-restore, so all
containers end): from its first answer until all sessions run; by hand, `docker start` of the same containers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.hosts import IMAGE, machines
from bench.place import Place, run
from bench.result import Goal, Measure, Row
from bench.turns import in_turn
from netvps.client import Client, Endpoint, SessionSpec, SessionState

if TYPE_CHECKING:
    from collections.abc import Iterator

_SESSIONS: Final = 200
_PATIENCE: Final = 900.0  # seconds


def measure(rounds: int) -> list[Row]:
    """Measures three rows."""
    with _host() as host, Place(within=host.within, docker_host=host.docker) as place:
        place.up()
        _create(place)
        subject = _Machine(host, place)
        server = in_turn(rounds, {"server": subject.kill_server})
        runner = in_turn(rounds, {"runner": subject.kill_runner})
        engine = in_turn(rounds, {"netvps": subject.kill_engine, "docker start": subject.kill_engine_by_hand})
    return [
        Row(f"{_SESSIONS} agents, after a kill of the server", "s", server, Goal(Measure.MEDIAN, 2.0)),
        Row(f"{_SESSIONS} agents, after a kill of the runner", "s", runner),
        Row(f"{_SESSIONS} sessions, after a kill of Docker", "s", engine, Goal(Measure.RATIO, 1.5)),
    ]


class _Host:
    """A host of scripts/lab."""

    def __init__(self, lab: str) -> None:
        self._folder = Path("/var/tmp", lab, "1")
        self.within = ("nsenter", f"--net=/run/netns/{lab}-1")
        self.docker = f"unix://{self._folder}/docker.sock"

    def restart_engine(self) -> None:
        """Kills dockerd and its containerd, starts them again, and waits for the first answer."""
        dockerd = int((self._folder / "pid").read_text())
        command = Path(f"/proc/{dockerd}/cmdline").read_text().rstrip("\0").split("\0")
        containerd = self._folder / "exec/containerd/containerd.pid"
        for pid in (dockerd, int(containerd.read_text())):
            os.kill(pid, signal.SIGKILL)
            while Path(f"/proc/{pid}/exe").exists():
                time.sleep(0.05)
        for file in (self._folder / "pid", *containerd.parent.glob("containerd.*[dk]")):
            if file.name != "containerd.toml":
                file.unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            subprocess.Popen([*self.within, *command], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(RuntimeError):
                run("docker", "-H", self.docker, "version")
                return
            time.sleep(0.1)
        raise RuntimeError("Docker does not come up again")


class _Machine:
    """What is done to the machine."""

    def __init__(self, host: _Host, place: Place) -> None:
        self._host, self._place = host, place

    def kill_server(self) -> float:
        """Seconds from the new server's first answer to the last agent's connection."""
        _, first, last = self._kill("server")
        return last - first

    def kill_runner(self) -> float:
        """Seconds from the kill to the last agent's connection."""
        killed, _, last = self._kill("runner")
        return last - killed

    def kill_engine(self) -> float:
        """Seconds from Docker's first answer until all sessions run."""
        self._host.restart_engine()
        return self._until_all_run()

    def kill_engine_by_hand(self) -> float:
        """Seconds of `docker start`; netvps is down meanwhile."""
        containers = self._containers("-aq")
        self._place.netvps("down")
        self._host.restart_engine()
        began = time.monotonic()
        subprocess.run(["docker", "-H", self._host.docker, "start", *containers], stdout=subprocess.DEVNULL, check=True)
        took = time.monotonic() - began
        self._place.up()
        return took

    def _kill(self, program: str) -> tuple[float, float, float]:
        """Kills a program, which `netvps up` starts again.

        Returns when that was, the server's first answer without all agents, and when all were connected.
        """
        watch = [*self._host.within, sys.executable, "-m", "bench.agents", str(self._place.ports["http"])]
        with subprocess.Popen([*watch, str(_SESSIONS)], stdout=subprocess.PIPE, text=True) as watcher:
            time.sleep(1)  # it polls
            killed = time.monotonic()
            for name, pid in self._place.programs():
                if name == program:
                    os.kill(pid, signal.SIGKILL)
            first, last = map(float, watcher.communicate(timeout=_PATIENCE)[0].split())
        return killed, first, last

    def _until_all_run(self) -> float:
        began = time.monotonic()
        while len(self._containers("-q")) < _SESSIONS:
            if time.monotonic() - began > _PATIENCE:
                raise RuntimeError("the sessions do not run again")
            time.sleep(0.1)
        return time.monotonic() - began

    def _containers(self, flags: str) -> list[str]:
        return run("docker", "ps", flags, "--filter", "label=netvps.type=vps", env=self._place.env).split()


@contextmanager
def _host() -> Iterator[_Host]:
    with machines(1) as lab:
        yield _Host(lab)


def _create(place: Place) -> None:
    with Client(Endpoint(place.socket)) as client:
        names = [client.create_session("", SessionSpec(image=IMAGE)).name for _ in range(_SESSIONS)]
        for name in names:
            client.wait(name, SessionState.RUNNING, timeout=_PATIENCE)
