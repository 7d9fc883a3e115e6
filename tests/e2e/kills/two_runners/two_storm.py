"""A storm over two machines: sessions move, are drained, cloned, restored and lost while programs and engines die.

To what clients do on one machine come moves and copies; to what dies, Docker, the receiver of a copy, and the network.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.docker_names import LABEL_SESSION, container_name
from netvps.domain.session.lifecycle import SNAPSHOT_PENDING
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import (
    RestoreState,
    Snapshot,
    SnapshotChange,
    SnapshotDraft,
    SnapshotState,
)
from netvps.errors import NetvpsError, NotFound
from netvps.faults import AGENT
from tests.e2e.kills.faulty import CONVERGES, until
from tests.e2e.kills.leftovers import strays
from tests.e2e.kills.random_kills import KEPT, NAMES, Storm
from tests.e2e.kills.stories import PASSES
from tests.e2e.kills.two_runners.deaths import RUNNERS, WAYS, kill
from tests.e2e.kills.two_runners.ledger import LINE, Ledger, common
from tests.e2e.system import unique
from tests.history.record import UNCLEAR
from tests.support.fair_clock import FAIR

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.rpc.client.client import Client
    from tests.e2e.kills.two_runners.cluster import Cluster

COPIED: Final = ("cyd", "dot")
"""Names of sessions whose snapshots are all to be on both machines."""
_STORIES: Final = ("create", "stop", "start", "delete", "adopt", "restore", "snapshot", "drop", "revert", "clone")
_POINTS: Final = (
    *(point for story in _STORIES for point in PASSES[story]),
    *("receive.written", "receive.placed", "receive.held"),
    *(f"{name}.{when}_commit" for name in ("moves.advance", "runner.copy") for when in ("before", "after")),
)
_ASKS: Final = (
    {"create": 14, "stop": 5, "start": 12, "pause": 3, "resume": 2, "delete": 5, "write": 14}
    | {"move": 12, "drain": 4, "snapshot": 8, "revert": 5, "unsnapshot": 3, "clone": 5, "copies": 6}
    | {"behind": 4, "elsewhere": 4}
)
_ANSWER: Final = 4.0
"""Seconds after which a client takes what is unavailable for refused."""
_PATIENCE: Final = 8.0
"""Seconds that a client waits for copies, which may have nowhere to go."""


class TwoStorm(Storm):
    """One cluster in a storm. `run` it, then `judge`."""

    system: Cluster
    asks = _ASKS
    ways = WAYS
    points = tuple(sorted(set(_POINTS) - set(AGENT)))

    def __init__(self, system: Cluster, image: str, seed: str, kills: int, enough: threading.Event) -> None:
        super().__init__(system, image, seed, kills, enough)
        self.ledger = Ledger()
        self.outcomes: Counter[str] = Counter()
        """How often what was asked for came about."""
        self.diary: list[str] = []
        self._turns = {name: threading.Lock() for name in NAMES}
        """One client at a time per session, and until what it asked for is done, where that changes files."""

    def judge(self) -> None:
        """Waits until all is as promised, reads all files, deletes all sessions; nothing of them may be left."""
        self.system.disarm()
        for runner in RUNNERS:
            self.system.answered(lambda client, runner=runner: client.uncordon_runner(runner))  # type: ignore[misc]
        until("both runners are online", lambda: self.system.lab.online() == len(RUNNERS))
        for name in NAMES:
            self.system.settled(name)
        self.system.until_right()
        for name in NAMES:
            if self.system.settled(name) is not None:
                self._require_files(name)
        for name in NAMES:
            if self.system.settled(name) is not None:
                self.system.ask("delete", name)
                assert self.system.settled(name) is None
        self.system.until_right()
        until("nothing of any session is left", self.system.nothing_left)
        until("no network is left", lambda: not any(map(strays, self.system.places().values())))

    def _note(self, what: str) -> None:
        """For whoever looks into a failure."""
        self.diary.append(f"{datetime.now(UTC):%H:%M:%S.%f} {threading.current_thread().name}: {what}")

    # What clients do.

    def _create_bystander(self) -> None:
        """Makes none: its machine would be drained, and its engine killed."""

    def _do(self, doing: str, name: str, key: Path) -> None:
        turn = self._turns[name]
        if not turn.acquire(blocking=False):
            return
        self._note(f"{doing} {name}")
        try:
            match doing:
                case "create":
                    spec = (
                        replace(self._spec, snapshot_policy=SnapshotPolicy(copies=2)) if name in COPIED else self._spec
                    )
                    self._answered(lambda: self.system.ask("create", name, spec))
                    self._write(name)
                case "drain":
                    self._drain()
                case _:
                    special: Callable[[str], None] | None = getattr(self, f"_do_{doing}", None)
                    if special:
                        special(name)
                    else:
                        super()._do(doing, name, key)
        finally:
            self._note(f"{doing} {name} is over")
            turn.release()

    def _do_move(self, name: str) -> None:
        if self._asked(lambda client: client.move_session(name)):
            self.outcomes["move"] += 1
            if self.chance.random() < 0.5:
                self._write(name)

    def _drain(self) -> None:
        """All leave a machine, as far as they get in a few seconds."""
        runner = self.chance.choice(RUNNERS)
        if self._asked(lambda client: client.drain_runner(runner)):
            self.outcomes["drain"] += 1
        self._over.wait(self.chance.uniform(1, 5))
        self.system.answered(lambda client: client.uncordon_runner(runner))

    def _do_snapshot(self, name: str) -> None:
        self._take(name, self.chance.choice((1, 2)))

    def _take(self, name: str, copies: int) -> None:
        """Takes a snapshot while nothing is written, and waits until as many have it, if they can."""
        snapshot = unique("n")
        if self._asked(lambda client: client.create_snapshot(name, SnapshotDraft(snapshot, copies=copies))):
            self._awaited(lambda: self._snapshot(name, snapshot).state is not SnapshotState.CREATING)
            self._note(f"taken: {name}/{snapshot}")
            self.ledger.taken(self._snapshot(name, snapshot))
            self.outcomes["snapshot"] += 1
            self._awaited(lambda: not self._snapshot(name, snapshot).lacks, _PATIENCE)

    def _do_unsnapshot(self, name: str) -> None:
        if own := self._own_snapshots(name):
            self._asked(lambda client: client.delete_snapshot(name, own[0].id))

    def _do_revert(self, name: str) -> None:
        """A restore in place; waits for it, since it changes the files."""
        session = self._session(name)
        if session is not None and not self._own_snapshots(name):
            self._take(name, 1)
            self._write(name)
        own = self._own_snapshots(name)
        if session is None or not own:
            return
        chosen = self.chance.choice(own)
        before = session.restore.uid if session.restore else ""
        self._asked(lambda client: client.restore_snapshot(name, chosen.id))

        def over() -> bool:
            latest = self._session(name)
            return latest is None or latest.pending_restore is None

        self._awaited(over)
        latest = self._session(name)
        if latest is None or latest.restore is None or latest.restore.uid == before:
            return
        if latest.restore.state is RestoreState.DONE:
            self.ledger.restored(latest.uid, self.ledger.held_by(chosen))
            self.outcomes["restore"] += 1
            self._note(f"restored: {name}/{chosen.id}")

    def _do_clone(self, name: str) -> None:
        made = self.chance.choice([one for one in NAMES if one not in {name, KEPT}])
        source, turn = self._session(name), self._turns[made]
        if source is None or not turn.acquire(blocking=False):
            return
        try:
            self._answered(lambda: self.system.ask("delete", made))
            self._awaited(lambda: self._session(made) is None)
            held = self.ledger.required(source.uid)
            uid = self._cloned(name, made)
            if uid:
                self.ledger.copied(uid, held)
                self._awaited(lambda: self._is_over(made))
                self.outcomes["clone"] += 1
        finally:
            turn.release()

    def _cloned(self, name: str, made: str) -> str:
        """The uid of the clone; '' if it was refused."""
        try:
            return self.system.noted("create", made, lambda client: client.clone_session(name, made))
        except UNCLEAR:
            raise
        except NetvpsError:
            return ""

    def _do_copies(self, name: str) -> None:
        """A stop that two runners are to hold."""
        self._write(name, tries=1)
        self._answered(lambda: self.system.ask("stop", name))
        self._awaited(lambda: self._is_over(name))
        session = self._session(name)
        if session is None or session.snapshot is None:
            return
        taken = [one for one in self._snapshots(name) if one.uid == session.snapshot.uid]
        for one in taken:
            if self._asked(lambda client: client.update_snapshot(name, one.id, SnapshotChange(copies=2))):  # noqa: B023
                self._awaited(lambda: not self._snapshot(name, one.id).lacks, _PATIENCE)  # noqa: B023
                self.outcomes["stop --copies 2"] += 1

    def _do_behind(self, name: str) -> None:
        """What Docker has of a stopped session is removed; its copy is left."""
        self._write(name, tries=1)
        self._answered(lambda: self.system.ask("stop", name))
        self._awaited(lambda: self._is_over(name))
        session = self._session(name)
        if session is None or session.state is not SessionState.STOPPED or session.reason or not session.runner_name:
            return
        host = self.system.host(session.runner_name)
        with suppress(subprocess.TimeoutExpired):
            state = host.docker("inspect", "-f", "{{.State.Status}}", container_name(session.uid), check=False)
            if state.strip() != "exited" or not self.system.rests(session):
                return
            host.docker("rm", container_name(session.uid), check=False)
            if self.chance.random() < 0.5:
                images = host.docker("images", "-aq", "--filter", f"label={LABEL_SESSION}={session.uid}", check=False)
                if images.split():
                    host.docker("rmi", "-f", *images.split(), check=False)
            self.outcomes["behind its back"] += 1
        self._answered(lambda: self.system.ask("start", name))
        self._write(name)

    def _do_elsewhere(self, name: str) -> None:
        """Its machine is lost for a while; it goes on from a copy on the other one."""
        session = self._session(name)
        if session is None or not session.runner_name or session.desired is DesiredState.DELETED:
            return
        lost = session.runner_name
        if not self._base(name, lost):
            self._take(name, 2)
            self._write(name)
        with self.system.down(lost):
            if not self._awaited(lambda: self.system.offline(lost)):
                return
            before = self._base(name, lost)
            if not self._asked(lambda client: client.move_session(name, from_copy=True), patience=0):
                return
            self.system.abandoned.add(session.uid)
            after = self._base(name, lost)
        bases = {one.uid: one for one in (*before, *after)}.values()
        held = [self.ledger.held_by(one) for one in bases]
        self.ledger.copied(session.uid, common(held or [{}]))
        self.outcomes["start elsewhere"] += 1
        self._note(f"{session.uid} was lost with {lost}, and started from one of {[one.uid for one in bases]}")
        self._write(name)

    def _base(self, name: str, lost: str) -> list[Snapshot]:
        """The newest snapshot that the other machine has, and all that are on their way there and newer."""
        ready = sorted(
            (one for one in self._snapshots(name) if one.state is SnapshotState.READY), key=lambda one: one.uid
        )
        there = [one for one in ready if any(holder.name != lost for holder in one.usable)]
        return there[-1:]

    # What dies.

    def _kill_one(self, way: str, choices: random.Random) -> None:
        if way == "point":
            self._kill_at(choices.choice(self.points))
        else:
            self._note(f"kill {way}")
            kill(self.system, way, choices, self.outcomes)

    def _kill_at(self, point: str) -> None:
        self._note(f"kill at {point}")
        super()._kill_at(point)
        self.system.disturbed = FAIR.now()

    def _kill(self, *pids: int) -> None:
        """Where none passes a point: one of the runners."""
        del pids
        self.system.kill(self.chance.choice(RUNNERS))

    # What is known.

    def acknowledge(self, uid: str, written: dict[str, str]) -> None:
        super().acknowledge(uid, written)
        self._note(f"written in {uid}: {sorted(written)}")
        self.ledger.acknowledge(uid, written)

    def _require_all(self, uid: str, written: dict[tuple[str, str], str], there: dict[str, str]) -> None:
        """As on one machine, besides what was restored."""
        del written
        own = self.ledger.required(uid)
        self.written.checks.append(len(own))
        wrong = [what for what, value in own.items() if there.get(what) != value]
        double = [what for what, value in there.items() if len(value) < 64 and value != LINE]
        again = [what for what in self.ledger.undone(uid) if what in there]
        assert not wrong, (
            f"P1: of {len(own)} files and lines in session {uid}, {len(wrong)} are lost or damaged: {wrong}"
        )
        assert not double, f"P1: in session {uid}, {double} are there more than once"
        assert not again, f"P1: in session {uid}, {again} are there though a snapshot from before was restored"

    def _session(self, name: str) -> Session | None:
        try:
            return self.system.answered(lambda client: client.get_session(name))
        except NotFound:
            return None

    def _is_over(self, name: str) -> bool:
        session = self._session(name)
        if session is None or session.state is SessionState.FAILED:
            return True
        return self.system.rests(session) and session.reason != SNAPSHOT_PENDING

    def _snapshots(self, name: str) -> list[Snapshot]:
        try:
            return self.system.answered(lambda client: list(client.list_snapshots(name)))
        except NotFound:
            return []

    def _own_snapshots(self, name: str) -> list[Snapshot]:
        """Those of which all that they hold is known."""
        return [one for one in self._snapshots(name) if one.state is SnapshotState.READY and self.ledger.knows(one)]

    def _snapshot(self, name: str, snapshot: str) -> Snapshot:
        return self.system.answered(lambda client: client.get_snapshot(name, snapshot))

    def _asked(self, call: Callable[[Client], object], patience: float = _ANSWER) -> bool:
        """Whether it was accepted. With `patience`, what is unavailable for so long is refused: a runner is gone."""
        try:
            self.system.answered(call, patience)
        except NetvpsError as error:
            self._note(f"refused: {error.message}")
            return False
        return True

    def _awaited(self, holds: Callable[[], bool], seconds: float = 0.0) -> bool:
        """Whether it holds in time; without one, it has to, soon after the last death."""
        began = FAIR.now()
        while True:
            with suppress(NotFound, *UNCLEAR):
                if holds():
                    return True
            now = FAIR.now()
            if seconds and now > began + seconds:
                return False
            assert now < max(began, self.system.disturbed) + CONVERGES, "what a client waits for does not come"
            time.sleep(0.1)
