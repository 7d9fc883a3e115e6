"""What is asked of a system at whose points faults are armed: each operation, what it passes, and how it is judged."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.docker_names import container_name, isolated_network
from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.lifecycle import SNAPSHOT_PENDING
from netvps.domain.session.spec import RestartPolicy, SessionSpec
from netvps.domain.snapshot.snapshot import SnapshotState
from netvps.errors import AlreadyExists, NetvpsError
from netvps.faults import AGENT, COMMITS
from tests.e2e.kills.access_stories import ACCESS_PASSES, AccessStories
from tests.e2e.kills.admin_stories import ADMIN_PASSES, AdminStories
from tests.e2e.kills.faulty import Faulty, until
from tests.e2e.kills.machine import Machine
from tests.e2e.kills.snapshot_stories import SNAPSHOT_PASSES, SnapshotStories
from tests.e2e.kills.task_stories import TASK_PASSES, TaskStories
from tests.e2e.system import docker, unique

if TYPE_CHECKING:
    from netvps.domain.session.session import Session
    from tests.e2e.kills.registry import Registry


def _both(*names: str) -> list[str]:
    sides = {n: ("before_commit", "after_commit") if n in COMMITS else ("before", "after") for n in names}
    return [f"{name}.{side}" for name, pair in sides.items() for side in pair]


PASSES: Final = {
    "create": [
        *_both("session.create", "runner.report", "runner.boot_token", "agent.certificate"),
        *_both("step.create", "step.start", "step.rest"),
        *("assignment.kept", "network.made", "boot.before_write", "boot.after_write"),
        *sorted(AGENT.keys() - ACCESS_PASSES["keep_terminal"]),
    ],
    "fetch": _both("step.fetch"),
    "stop": [
        *_both("session.desired", "step.terminate", "step.copy", "step.commit", "step.record", "runner.snapshot"),
        *_both("step.prune"),
        *("copy.written", "commit.made", "commit.verified"),
    ],
    "start": _both("session.desired", "step.start", "step.rest"),
    "adopt": _both("step.adopt"),
    "restore": [*_both("step.restore"), "restore.made", "restore.unpacked"],
    "delete": [*_both("session.desired", "step.erase", "runner.removed"), "erase.containers", "erase.images"],
    "flatten": [*_both("step.flatten"), "flatten.imported"],
    "refuse": _both("step.refuse"),
    "lift_pause": _both("step.unpause"),
    "pause": _both("session.desired", "step.pause", "step.rest"),
    "wake": [*_both("session.desired", "step.unpause"), "gateway.woken"],
    "resize": _both("session.desired", "step.resize"),
    "end": _both("step.ended", "runner.report"),
    "move": _both("step.move"),
    **SNAPSHOT_PASSES,
    **ADMIN_PASSES,
    **ACCESS_PASSES,
    **TASK_PASSES,
    "vanish": _both("runner.online", "runner.offline"),
    "add_key": _both("key.create"),
    "remove_key": _both("key.delete"),
    "join": [
        *_both("join.token", "join.runner"),
        *("join.signed", "identity.key_kept", "identity.before_save", "identity.after_save"),
    ],
}
"""Operation → the points that it passes."""


class Stories(SnapshotStories, AdminStories, AccessStories, TaskStories):
    """One system and its state from one operation to the next. Each operation takes a point and a mode."""

    def __init__(self, system: Faulty, image: str, registry: Registry) -> None:
        self.system = system
        self.spec = SessionSpec(image=image, stop_grace=0)
        self.registry = registry
        self._fresh: list[str] = []
        self._standing = ""
        """A session that is stopped and started again and again, with a file in it."""
        self._stopped = False

    def create(self, point: str, mode: str) -> None:
        """A new session, which the next delete removes."""
        system, name = self.system, unique("s")
        # The agent is armed by its container: it looks at no folder of ours.
        spec = replace(self.spec, env={"NETVPS_FAULT": f"{point}={mode}"}) if point in AGENT else self.spec
        if point in AGENT:
            system.ask("create", name, spec)
            session = self._require(name)
            container, hit = f"netvps-vps-{session.uid}", f"A /.netvps/state/{point}.hit"
            until(f"the agent passes {point}", lambda: hit in docker("diff", container, check=False))
        else:
            with system.struck(point, mode):
                system.ask("create", name, spec)
                system.settled(name)
        system.write_file(name, "kept")
        self._fresh.append(name)

    def fetch(self, point: str, mode: str) -> None:
        """A session of an image that has to be pulled."""
        self._short_life(self.registry.image("plain", unique("t")), point, mode)

    def flatten(self, point: str, mode: str) -> None:
        """A stop of a session whose image has many layers; its snapshot has one, soon."""
        image, name = self.registry.image("deep", unique("t")), unique("s")
        try:
            self._made(name, image)
            self.system.ask("stop", name)
            session = self._copied(name)
            with self.system.struck(point, mode):
                docker("rm", container_name(session.uid))  # while there is one, nothing starts from the snapshot
                until("its snapshot has one layer", lambda: self._depth(name) == 1)
            until("its snapshot has one layer", lambda: self._depth(name) == 1)
            self.system.ask("start", name)
            self.system.require_file(name, "kept")
            self._delete(name)
        finally:
            docker("rmi", "-f", image, check=False)

    def stop(self, point: str, mode: str) -> None:
        """A stop of a session that has a snapshot already."""
        name = self._running()
        with self.system.struck(point, mode):
            self.system.ask("stop", name)
            self.system.settled(name)
        self._stopped = True

    def adopt(self, point: str, mode: str) -> None:
        """A start of a session of which only the snapshot of its stop is left; the file is there again."""
        self._from_outside_docker(point, mode, copy=False)

    def restore(self, point: str, mode: str) -> None:
        """A start of a session whose container and images were removed by hand; the file is there again."""
        self._from_outside_docker(point, mode, copy=True)

    def _from_outside_docker(self, point: str, mode: str, *, copy: bool) -> None:
        name = self._running()
        self.system.ask("stop", name)
        session = self._copied(name)
        docker("rm", container_name(session.uid))
        docker("rmi", "-f", session.snapshot.image if session.snapshot else "")
        if not copy:
            (self._archives().parent / f"{session.uid}.json").unlink()
        with self.system.struck(point, mode):
            self.system.ask("start", name)
            self.system.settled(name)
        self.system.require_file(name, "kept")
        self.system.ask("stop", name)
        self._copied(name)  # it has a snapshot again
        self._stopped = True

    def start(self, point: str, mode: str) -> None:
        """A start of the container that was kept; the file is there again."""
        name = self._running()
        if not self._stopped:
            self.system.ask("stop", name)
            self.system.settled(name)
        with self.system.struck(point, mode):
            self.system.ask("start", name)
            self.system.settled(name)
        self._stopped = False
        self.system.require_file(name, "kept")

    def delete(self, point: str, mode: str) -> None:
        """The end of a session."""
        if not self._fresh:
            self._fresh.append(self._made(unique("s")))
        name = self._fresh.pop()
        with self.system.struck(point, mode):
            self._delete(name)

    def refuse(self, point: str, mode: str) -> None:
        """A start of a session of which everything was removed by hand: it says so, and can be deleted."""
        name = self._made(unique("s"))
        self.system.ask("stop", name)
        session = self._copied(name)
        until("its snapshot is taken", lambda: {one.state for one in self._listed(name)} == {SnapshotState.READY})
        for folder in (self._archives().parent, self._archives()):
            for file in folder.glob(f"{session.uid}*"):
                file.unlink()
        docker("rm", container_name(session.uid))
        docker("rmi", "-f", session.snapshot.image if session.snapshot else "")
        with self.system.struck(point, mode):
            self.system.ask("start", name)
            refused = self.system.settled(name, fails=True)
        assert refused is not None
        assert refused.reason == "container"
        self._delete(name)

    def pause(self, point: str, mode: str) -> None:
        """A session is frozen, and goes on with its file."""
        name = self._running()
        with self.system.struck(point, mode):
            self.system.ask("pause", name)
            self.system.settled(name)
        assert self._require(name).state == "PAUSED"
        self.system.ask("resume", name)
        self.system.settled(name)
        self.system.require_file(name, "kept")

    def wake(self, point: str, mode: str) -> None:
        """A login resumes a paused session."""
        name = self._running()
        self.system.ask("pause", name)
        self.system.settled(name)
        with self.system.struck(point, mode):
            self.system.require_file(name, "kept")
        assert self._require(name).state == "RUNNING"

    def resize(self, point: str, mode: str) -> None:
        """Limits change while the session runs."""
        name = self._running()
        container, now = container_name(self._require(name).uid), self._require(name).spec.pids
        spec = replace(self.spec, pids=5000 if now != 5000 else 6000)
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.update_session(name, spec, {"pids"}))
            self.system.settled(name)
        assert docker("inspect", "-f", "{{.HostConfig.PidsLimit}}", container) == f"{spec.pids}\n"

    def end(self, point: str, mode: str) -> None:
        """A session that is not to be restarted ends by itself, and stays stopped with its file."""
        name = unique("s")
        self.system.ask("create", name, replace(self.spec, restart_policy=RestartPolicy.NEVER))
        container = container_name(self._require(name).uid)
        self.system.write_file(name, "kept")
        with self.system.struck(point, mode):
            docker("kill", container)
            until("it is stopped", lambda: self._wanted(name) == "STOPPED")
            self.system.settled(name)
        assert docker("inspect", "-f", "{{.State.Running}}", container) == "false\n"
        self.system.ask("start", name)
        self.system.settled(name)
        self.system.require_file(name, "kept")
        self._delete(name)

    def _wanted(self, name: str) -> str:
        """'' if no server answers."""
        try:
            with self.system.connect() as client:
                return client.get_session(name).desired
        except NetvpsError:
            return ""

    def lift_pause(self, point: str, mode: str) -> None:
        """A pause without an owner is lifted."""
        name = self._running()
        container = container_name(self._require(name).uid)
        with self.system.struck(point, mode):
            docker("pause", container)
        until("the pause is lifted", lambda: docker("inspect", "-f", "{{.State.Paused}}", container) == "false\n")
        self.system.require_file(name, "kept")

    def move(self, point: str, mode: str) -> None:
        """A container that was taken off its network and ended is put back on it."""
        name = self._running()
        session = self._require(name)
        container, network = container_name(session.uid), isolated_network(self.system.runner_uid(), session.owner)
        with self.system.struck(point, mode):
            docker("network", "disconnect", "-f", network, container)
            docker("kill", container)
        networks = (
            "inspect",
            "-f",
            "{{.State.Running}} {{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}",
        )
        until("it runs on its network", lambda: docker(*networks, container) == f"true {network}\n")
        self.system.require_file(name, "kept")

    def vanish(self, point: str, mode: str) -> None:
        """A runner dies, is taken for offline, and comes back; its session runs on."""
        name, keeper = self._running(), self.system.pid()
        with self.system.struck(point, mode):
            os.kill(keeper, signal.SIGSTOP)  # it would start the runner again before anybody misses it
            try:
                os.kill(self.system.pids()["runner"], signal.SIGKILL)
                until("the runner is missed", lambda: self.system.victim(point) != 0 or self._is_offline(""))
            finally:
                os.kill(keeper, signal.SIGCONT)
        self.system.settled(name)
        self.system.require_file(name, "kept")

    def add_key(self, point: str, mode: str) -> None:
        """A key that is registered opens a session."""
        key = self._new_key()
        with self.system.struck(point, mode):
            self._register(key)
        self._opens(key)

    def remove_key(self, point: str, mode: str) -> None:
        """A key that is revoked opens nothing."""
        key = self._new_key()
        fingerprint = self._register(key)
        self._opens(key)
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.delete_ssh_key(fingerprint))
        name = self._running()
        assert self.system.in_session(name, "true", key=key) is None
        self.system.require_file(name, "kept")

    def join(self, point: str, mode: str) -> None:
        """Another machine joins: one runner, with one subnet, however often it has to start."""
        name, machine = unique("box"), Machine(self.system)
        with self.system.struck(point, mode):
            machine.join(name, self._join_token(), lambda: self.system.victim(point) != 0 and self._is_online(name))
        until("it is missed", lambda: self._is_offline(name))  # else the next session may be placed there
        named = [one.runner.name for one in self.system.answered(lambda client: list(client.list_runners()))]
        assert [other for other in named if other.startswith(name)] == [name]

    def _join_token(self) -> str:
        try:
            return self.system.answered(lambda client: client.create_join_token())[0]
        except AlreadyExists as error:  # the answer was lost, and a secret is shown once
            assert error.reason == "SECRET_SHOWN", error
            return self.system.answered(lambda client: client.create_join_token())[0]

    def _made(self, name: str, image: str = "") -> str:
        self.system.ask("create", name, replace(self.spec, image=image) if image else self.spec)
        self._require(name)
        self.system.write_file(name, "kept")
        return name

    def _short_life(self, image: str, point: str, mode: str) -> None:
        name = unique("s")
        try:
            with self.system.struck(point, mode):
                self._made(name, image)
            self._delete(name)
        finally:
            docker("rmi", "-f", image, check=False)

    def _running(self) -> str:
        """The standing session, which has one snapshot already and runs."""
        if not self._standing:
            self._standing = self._made(unique("s"))
            self.system.ask("stop", self._standing)
            self._copied(self._standing)
            self._stopped = True
        if self._stopped:
            self.system.ask("start", self._standing)
            self.system.settled(self._standing)
            self._stopped = False
        return self._standing

    def _copied(self, name: str) -> Session:
        """The session once it is stopped, and copied."""
        self._require(name)
        until(f"session {name} is copied", lambda: self._require(name).reason != SNAPSHOT_PENDING)
        return self._require(name)

    def _depth(self, name: str) -> int:
        snapshot = self._require(name).snapshot
        return snapshot.layers if snapshot else 0

    def _require(self, name: str) -> Session:
        session = self.system.settled(name)
        assert session is not None, f"session {name} is gone"
        return session

    def _delete(self, name: str) -> None:
        self.system.ask("delete", name)
        assert self.system.settled(name) is None

    def _new_key(self) -> Path:
        key = self.system.home / unique("key")
        self.system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        return key

    def _register(self, key: Path) -> str:
        public = Path(f"{key}.pub").read_text()
        return self.system.answered(lambda client: client.create_ssh_key(public)).fingerprint

    def _opens(self, key: Path) -> None:
        name = self._running()
        until("the key opens a session", lambda: self.system.in_session(name, "true", key=key) is not None)

    def _is_online(self, name: str) -> bool:
        return self._state(name) == RunnerState.ONLINE

    def _is_offline(self, name: str) -> bool:
        return self._state(name) == RunnerState.OFFLINE

    def _state(self, name: str) -> str:
        """Of the runner of that name, or the first; '' if no server answers."""
        try:
            with self.system.connect() as client:
                runners = [one.runner for one in client.list_runners()]
        except NetvpsError:
            return ""
        own = self.system.runner_uid()
        return next((str(r.state) for r in runners if (r.name == name if name else r.uid == own)), "")
