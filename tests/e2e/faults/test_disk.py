"""Docker's disk is full: nothing is lost, the owner hears why, nothing half-made stays, and it goes on by itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.lifecycle import SNAPSHOT_FAILED
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from tests.e2e.faults.faulty_system import FaultySystem
from tests.e2e.faults.own_engine import OwnEngine
from tests.e2e.kills.faulty import until
from tests.e2e.system import unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.session import Session

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.netns]
DISK = 260
"""MiB."""
MANY = 22_000
SPEC = SessionSpec(image="busybox:latest", stop_grace=2)


@pytest.fixture(scope="module")
def system() -> Iterator[FaultySystem[OwnEngine]]:
    engine = OwnEngine(disk=DISK)
    made = FaultySystem(engine)
    try:
        engine.start()
        engine.import_busybox()
        made.up()
        made.register_key()
        yield made
    finally:
        made.destroy()
        engine.destroy()


@pytest.fixture
def session(system: FaultySystem[OwnEngine]) -> Iterator[str]:
    """One that runs, with a file in it; when it is removed, nothing of it is left, and the disk is as it was."""
    name, used = unique("s"), _used(system)
    with system.client() as client:
        client.create_session(name, SPEC)
        system.settled(name)
        system.write_file(name, "kept")
        yield name
        client.delete_session(name)
    assert system.settled(name) is None
    assert system.wrong() == []
    until("its room is free again", lambda: _used(system) - used < 4 << 20)


def test_a_stop_and_a_create_without_room_fail_at_once_and_go_on_by_themselves(
    system: FaultySystem[OwnEngine], session: str
) -> None:
    other = unique("s")
    with system.client() as client:
        with system.engine.full():
            full = system.ssh(session, "dd if=/dev/zero of=/root/more bs=1M count=5", check=False)
            assert b"No space left on device" in full.stderr
            client.stop_session(session)
            failed = _failed(system, session)
            assert (failed.state, failed.snapshot) == (SessionState.STOPPED, None)
            assert "nothing is lost, the container is kept" in failed.message
            assert "0 MiB are free" in failed.message
            assert "retried automatically" in failed.message
            client.create_session(other, SPEC)
            failed = _required(system, other)
            assert (failed.state, failed.reason) == (SessionState.FAILED, "disk")
            assert "docker system df" in failed.message
            assert system.wrong_images() == []
            assert system.doctor()["disk"] == "fail"
        until("it is stopped, with a snapshot", lambda: _required(system, session).snapshot is not None)
        until("the other runs", lambda: _required(system, other).state is SessionState.RUNNING)
        system.write_file(other, "made")
        client.start_session(session)
        system.settled(session)
        client.delete_session(other)
    system.require_file(session, "kept")
    assert system.settled(other) is None


def test_a_disk_with_too_little_room_for_many_small_files_loses_nothing(
    system: FaultySystem[OwnEngine], session: str
) -> None:
    """Files of one byte take a page each on the disk: that is what is counted, and no snapshot is begun."""
    system.ssh(session, f"mkdir /root/many && cd /root/many && seq {MANY} | while read n; do echo > $n; done")
    before = _used(system)
    with system.client() as client:
        with system.engine.full(leave=70 << 20):  # enough for their bytes, and too little for their blocks
            client.stop_session(session)
            failed = _failed(system, session)
            assert failed.state is SessionState.STOPPED
            assert "MiB are free" in failed.message
            assert "free space" in failed.message
            assert system.wrong_images() == []
        until("nothing half-made stays", lambda: _used(system) - before < 4 << 20)
        client.start_session(session)  # it goes on from the container, without waiting
        system.settled(session)
        system.require_file(session, "kept")
        assert _required(system, session).snapshot is None


def _required(system: FaultySystem[OwnEngine], name: str) -> Session:
    session = system.settled(name)
    assert session is not None
    return session


def _failed(system: FaultySystem[OwnEngine], name: str) -> Session:
    until("its snapshot failed", lambda: _required(system, name).reason == SNAPSHOT_FAILED)
    return _required(system, name)


def _used(system: FaultySystem[OwnEngine]) -> int:
    return shutil.disk_usage(system.engine.data).used
