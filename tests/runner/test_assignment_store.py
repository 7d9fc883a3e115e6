"""Assignments survive the process, and a damaged file is no misfortune."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps.domain.session.session import Assignment, DesiredState, SnapshotImage
from netvps.domain.session.spec import Network, Placement, RestartPolicy, SessionSpec
from netvps.domain.sleep.policy import WakePolicy
from netvps.domain.snapshot.snapshot import Restore, SnapshotOrder, SnapshotSource
from netvps.errors import ConfigError
from netvps.files import write_file
from netvps.runner import assignment_store
from netvps.runner.assignment_store import AssignmentStore, read_assignments
from netvps.tasks import Tasks
from tests.fakes.keys import ed25519
from tests.support.patience import PATIENCE

SNAPSHOT = SnapshotImage("s", "u", "i:1", "sha256:1", 5, 2, "here", 3, datetime(2026, 11, 21, tzinfo=UTC))
SPEC = SessionSpec(
    image="x",
    cpus=0.5,
    env={"A": "1"},
    run_entrypoint=True,
    command=("serve", "-v"),
    authorized_keys=(ed25519(1),),
    network=Network.NONE,
    labels={"k": "v"},
    restart_policy=RestartPolicy.ON_FAILURE,
    gpu_ids=("GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab",),
    wake=WakePolicy.NEVER,
    runner_filter="labels.rack=3",
    placement=Placement.PACK,
)
WANT = Assignment(
    "u",
    "dev1",
    "ann",
    2,
    3,
    DesiredState.STOPPED,
    SPEC,
    SNAPSHOT,
    9,
    "10.128.4.2",
    (SnapshotOrder("o1"), SnapshotOrder("o2", delete=True)),
    Restore("r1", "o1", "o2", datetime(2026, 11, 22, tzinfo=UTC)),
    SnapshotSource("o3", "u2", "b.ann/o3", consumed=True),
    ("GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab",),
    "10.128.6.2",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "assignments.json"


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[AssignmentStore]:
    store = AssignmentStore(path)
    async with Tasks() as tasks:
        tasks.start(store.run(), name="assignments")
        yield store


async def kept(store: AssignmentStore, assignment: Assignment) -> None:
    done = asyncio.Event()
    store.save(assignment, done.set)
    async with asyncio.timeout(PATIENCE):
        await done.wait()


class SlowDisk:
    """Counts writes, and lets each go on when asked to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        self.went_on = threading.Event()
        monkeypatch.setattr("netvps.runner.assignment_store.write_file", self._write)

    def _write(self, path: Path, content: bytes) -> None:
        self.writes += 1
        assert self.went_on.wait(10)
        write_file(path, content)


async def test_what_is_kept_comes_back_equal(path: Path) -> None:
    async with running(path) as store:
        await kept(store, WANT)
        await kept(store, replace(WANT, session_uid="v", snapshot=None))
        store.forget("v")
        await kept(store, replace(WANT, session_uid="w"))
    assert AssignmentStore(path).assignments == {"u": WANT, "w": replace(WANT, session_uid="w")}
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_field_has_its_type_again(path: Path) -> None:
    """An enum as its text, or a tuple as a list, may be equal, and is not the same."""
    defaults = [field.name for field in fields(Assignment) if getattr(WANT, field.name) == field.default]
    assert defaults == []
    path.write_text(json.dumps({"version": 1, "assignments": [json.loads(assignment_store._encoded(WANT))]}))
    assert repr(read_assignments(path)) == repr({"u": WANT})


async def test_nothing_is_acted_on_before_it_is_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, acts = SlowDisk(monkeypatch), list[str]()
    async with running(path) as store:
        store.save(WANT, lambda: acts.append("first"))
        await asyncio.sleep(0.1)
        store.save(WANT, lambda: acts.append("the same, which is being written"))
        assert (disk.writes, acts, store.get("u")) == (1, [], WANT)
        disk.went_on.set()
        await kept(store, replace(WANT, generation=4))
    assert acts == ["first", "the same, which is being written"]
    assert AssignmentStore(path).get("u") == replace(WANT, generation=4)


async def test_what_comes_during_a_write_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, acts = SlowDisk(monkeypatch), list[str]()
    wants = {f"s{number}": replace(WANT, session_uid=f"s{number}") for number in range(1000)}
    async with running(path) as store:
        store.save(WANT)
        await asyncio.sleep(0.1)
        for uid, assignment in wants.items():
            store.save(assignment, lambda uid=uid: acts.append(uid))  # type: ignore[misc]
        disk.went_on.set()
        await kept(store, WANT)
    assert (disk.writes, acts) == (2, list(wants))
    assert AssignmentStore(path).assignments == {"u": WANT} | wants


async def test_what_is_sent_again_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revision of an assignment moves with each report of its session, and asks for nothing."""
    async with running(path) as store:
        await kept(store, WANT)
        SlowDisk(monkeypatch)
        acts: list[str] = []
        store.save(replace(WANT, revision=700), lambda: acts.append("at once"))
        assert acts == ["at once"]


async def test_a_thousand_assignments_do_not_stop_the_loop(path: Path) -> None:
    """With each a write of its own, a runner was deaf for minutes: each waits for the disk."""
    longest, loop = 0.0, asyncio.get_running_loop()
    done = asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        while True:
            began = loop.time()
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - began)

    async with running(path) as store, Tasks() as tasks:
        tasks.start(tick(), name="tick")
        for number in range(1000):
            store.save(replace(WANT, session_uid=f"s{number}"), done.set if number == 999 else lambda: None)
            await asyncio.sleep(0)  # as messages come
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert len(AssignmentStore(path).assignments) == 1000
    assert longest < 0.5  # some ms, on a machine that does nothing else


def test_a_damaged_file_is_an_empty_memory(tmp_path: Path) -> None:
    path = tmp_path / "assignments.json"
    for content in ("", "{", '{"assignments": [{"spec": {}}]}', '{"assignments": 7}'):
        path.write_text(content)
        assert AssignmentStore(path).assignments == {}


async def test_a_full_disk_loses_nothing_that_is_wanted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with running(path) as store:
        with monkeypatch.context() as patch:
            patch.setattr("netvps.runner.assignment_store.write_file", full)
            await kept(store, WANT)  # and acted on
        assert store.assignments == {"u": WANT}
        assert AssignmentStore(path).assignments == {}
        await kept(store, WANT)  # it is sent again, and there is room now
    assert AssignmentStore(path).assignments == {"u": WANT}


def test_a_removal_by_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "assignments.json"
    assert read_assignments(path) == {}
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot read the runner"):
        read_assignments(path)
