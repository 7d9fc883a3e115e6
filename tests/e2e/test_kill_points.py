"""Whatever dies, fails or hangs at whatever point: all ends as its owner asked, once, and nothing is left behind.

By itself it walks the points on either side of each commit and of each thing made or removed, by `kill`, and some by
`raise` and `hang`: two minutes. NETVPS_FULL=1 has it walk all points in every mode: half an hour.
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session import SessionSpec
from netvps.errors import NetvpsError, NotFound
from netvps.faults import COMMITS, HANG, KILL, POINTS, RAISE
from tests.e2e.faulty import Faulty, until
from tests.e2e.system import unique
from tests.history.check import violations

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
FULL = bool(os.environ.get("NETVPS_FULL"))


def _both(*names: str) -> list[str]:
    sides = {n: ("before_commit", "after_commit") if n in COMMITS else ("before", "after") for n in names}
    return [f"{name}.{side}" for name, pair in sides.items() for side in pair]


CREATE = [
    *_both("session.create", "runner.report", "runner.boot_token", "agent.certificate"),
    *_both("step.create", "step.start", "step.rest"),
    *("assignment.kept", "network.made", "boot.before_write", "boot.after_write"),
]
DELETE = [*_both("session.want", "step.erase", "runner.removed"), "erase.containers", "erase.images"]
STOP = [
    *_both("session.want", "step.terminate", "step.commit", "step.record", "runner.snapshot"),
    *_both("step.remove", "step.prune"),
    *("commit.made", "commit.verified"),
]
START = _both("session.want", "step.create", "step.start", "step.rest")
KEY = _both("key.create", "key.delete")
JOIN = [*_both("join.token", "join.runner"), *("join.signed", "identity.key_kept")]
JOIN += ["identity.before_save", "identity.after_save"]
ONLINE = _both("runner.online")
# What takes a world of its own: an image from a registry, another address, a paused or dead container, 15 s of silence,
# many layers.
ELSEWHERE = _both(
    "step.fetch", "step.unpause", "step.wait", "step.refuse", "step.move", "runner.offline", "access.user"
)
ELSEWHERE += ["flatten.imported"]
# Where a death is worst: something was done and nobody knows.
SHORT = {"session.create.after_commit", "step.create.after", "step.start.after", "agent.certificate.after_commit"}
SHORT |= {"boot.before_write", "assignment.kept", "runner.report.before_commit", "session.want.after_commit"}
SHORT |= {"commit.made", "commit.verified", "runner.snapshot.before_commit", "runner.snapshot.after_commit"}
SHORT |= {
    "step.remove.after",
    "step.prune.before",
    "step.erase.before",
    "erase.containers",
    "runner.removed.after_commit",
}
SHORT |= {"key.create.after_commit", "runner.online.before_commit", "join.signed", "identity.before_save"}
SHORT_SOFT = {("runner.snapshot.after_commit", RAISE), ("commit.verified", HANG), ("step.create.after", RAISE)}
SHORT_SOFT |= {("session.create.after_commit", HANG)}

Fault = tuple[str, str]
NONE: Fault = ("", "")


def _modes(points: list[str]) -> list[Fault]:
    every = [(point, mode) for point in points for mode in (KILL, RAISE, HANG)]
    return [one for one in every if FULL or one in SHORT_SOFT or (one[0] in SHORT and one[1] == KILL)]


def _pairs(one: list[str], other: list[str]) -> list[tuple[Fault, Fault]]:
    return list(itertools.zip_longest(_modes(one), _modes(other), fillvalue=NONE))


def _name(fault: Fault) -> str:
    return "-".join(part for part in fault if part) or "none"


@pytest.fixture(scope="module")
def client() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def system(client: pytest.MonkeyPatch) -> Iterator[Faulty]:
    made = Faulty(Path(tempfile.mkdtemp(prefix="nvk-")), client)
    try:
        made.up()
        made.register_key()
        yield made
    finally:
        made.disarm()
        made.destroy()


@pytest.fixture(scope="module")
def spec(busybox: str) -> SessionSpec:
    return SessionSpec(image=busybox, stop_grace=2)


@pytest.fixture(scope="module")
def standing(system: Faulty, spec: SessionSpec) -> str:
    """A session that is stopped and started again and again, with a file in it."""
    name = unique("s")
    system.ask("create", name, spec)
    system.settled(name)
    system.write_file(name, "kept")
    return name


def test_every_point_is_walked_somewhere() -> None:
    walked = {*CREATE, *DELETE, *STOP, *START, *KEY, *JOIN, *ONLINE}
    assert walked | set(ELSEWHERE) == set(POINTS)
    assert not walked & set(ELSEWHERE)
    assert SHORT | {point for point, _ in SHORT_SOFT} <= walked


@pytest.mark.parametrize(("made", "removed"), _pairs(CREATE, DELETE), ids=_name)
def test_a_session_comes_and_goes(system: Faulty, spec: SessionSpec, made: Fault, removed: Fault) -> None:
    name = unique("s")
    with system.struck(*made):
        system.ask("create", name, spec)
        system.settled(name)
    system.write_file(name, "kept")
    assert violations(system.history, system.end()) == []
    with system.struck(*removed):
        system.ask("delete", name)
        assert system.settled(name) is None
    until_right(system)


@pytest.mark.parametrize(("stopped", "started"), _pairs(STOP, START), ids=_name)
def test_a_file_outlives_stop_and_start(system: Faulty, standing: str, stopped: Fault, started: Fault) -> None:
    with system.struck(*stopped):
        system.ask("stop", standing)
        system.settled(standing)
    until_right(system)
    with system.struck(*started):
        system.ask("start", standing)
        system.settled(standing)
    system.require_file(standing, "kept")
    until_right(system)


def until_right(system: Faulty) -> None:
    """What is removed after the control plane knows of it (older snapshots) may take a moment more."""
    found: list[list[str]] = []

    def right() -> bool:
        try:
            found.append(violations(system.history, system.end()))
        except NetvpsError:
            return False
        return not found[-1]

    try:
        until("all is as promised", right)
    except AssertionError as late:
        raise AssertionError(found[-1:]) from late


@pytest.mark.parametrize(("point", "mode"), _modes(KEY))
def test_keys_are_registered_and_revoked_once(system: Faulty, point: str, mode: str, tmp_path: Path) -> None:
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    public = (tmp_path / "key.pub").read_text()
    added, removed = ((point, mode), NONE) if "create" in point else (NONE, (point, mode))
    with system.struck(*added):
        fingerprint = system.told(lambda client: client.create_ssh_key(public)).fingerprint
    assert [key.fingerprint for key in system.told(lambda client: list(client.list_ssh_keys()))].count(fingerprint) == 1
    with system.struck(*removed):
        system.told(lambda client: client.delete_ssh_key(fingerprint))
    assert fingerprint not in [key.fingerprint for key in system.told(lambda client: list(client.list_ssh_keys()))]


@pytest.mark.parametrize(("point", "mode"), _modes(ONLINE))
def test_a_runner_comes_back(system: Faulty, standing: str, point: str, mode: str) -> None:
    with system.struck(point, mode):
        os.kill(system.pids()["runner"], signal.SIGKILL)
    system.require_file(standing, "kept")
    until_right(system)


@pytest.mark.parametrize("point", [point for point in JOIN if FULL or point in SHORT])
def test_a_machine_joins_once(client: pytest.MonkeyPatch, point: str) -> None:
    """The first start may fail, and say so; the next one brings one runner, with one subnet."""
    system = Faulty(Path(tempfile.mkdtemp(prefix="nvk-")), client)
    try:
        system.arm(point)
        system.up(check=False)
        assert system.was_hit(point)
        system.disarm()
        until("netvps runs", lambda: system.up(check=False).returncode == 0 or _runs_already(system))
        assert len(system.told(lambda client: list(client.list_runners()))) == 1
        assert violations(system.history, system.end()) == []
    finally:
        system.destroy()


def _runs_already(system: Faulty) -> bool:
    try:
        with system.connect() as connection:
            return bool(list(connection.list_runners()))
    except (NetvpsError, NotFound):
        return False
