"""dockerd killed, restarted or pruned, with and without live-restore, and its machine without power.

Sessions come back by themselves, once, with their files.

dockerd (in a namespace) ◄── socket ── netvps up ◄── ssh ── the test
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from netvps.domain.runner.docker_names import LABEL_SESSION
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from tests.e2e.faults.faulty_system import FaultySystem
from tests.e2e.faults.own_engine import OwnEngine
from tests.e2e.kills.faulty import until
from tests.e2e.system import unique
from tests.e2e.vps import SOCKET, VOLUME, Vps
from tests.support.images import archive_with, import_image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.netns]
FULL = bool(os.environ.get("NETVPS_FULL"))
MANY = 5
SPEC = SessionSpec(image="busybox:latest", stop_grace=2)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "live-restore"])
def system(request: pytest.FixtureRequest) -> Iterator[FaultySystem[OwnEngine]]:
    engine = OwnEngine(live_restore=request.param)
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


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_session_comes_back_with_files_network_and_ssh(system: FaultySystem[OwnEngine], how: str) -> None:
    name, engine = unique("s"), system.engine
    with system.client() as client:
        client.create_session(name, SPEC)
        system.settled(name)
        system.write_file(name, "kept")
        said = system.logged("Docker is unavailable")
        getattr(engine, how)()
        until("its owner learns why", lambda: "Docker does not answer" in _message(system, name))
        assert system.doctor()["engine"] == "fail"
        until("the log tells", lambda: system.logged("Docker is unavailable") == said + 1)
        engine.start()
        system.require_file(name, "kept")
        until("it has its network", lambda: b"172.30." in system.ssh(name, "ip address", check=False).stdout)
        until("the message is gone", lambda: _message(system, name) == "")
        until("the log tells that, too", lambda: system.logged("Docker is available again") == said + 1)
        assert system.logged("Docker is unavailable") == said + 1
        client.stop_session(name)
        system.settled(name)
        client.start_session(name)
        system.settled(name)
        system.require_file(name, "kept")
        client.delete_session(name)
    system.settled(name)
    assert system.wrong() == []


@pytest.mark.parametrize("how", ["kill", "stop"] if FULL else ["kill"])
def test_what_is_under_way_ends_as_it_was_wanted(system: FaultySystem[OwnEngine], how: str) -> None:
    """Some are being made, and one is in the middle of its commit."""
    engine = system.engine
    kept, coming = unique("k"), [unique("c") for _ in range(MANY)]
    with system.client() as client:
        uid = client.create_session(kept, SPEC).uid
        system.settled(kept)
        system.write_file(kept, "kept")
        system.ssh(kept, "head -c 80000000 /dev/urandom > /root/much")
        client.stop_session(kept)
        ended = ("ps", "-aq", "--filter", f"name=netvps-vps-{uid}", "--filter", "status=exited")
        until("it is about to be committed", lambda: engine.docker(*ended) != "")
        for name in coming:
            client.create_session(name, SPEC)
        getattr(engine, how)()
        engine.start()
        for name in (kept, *coming):
            session = system.settled(name)
            assert session is not None
            goal = SessionState.STOPPED if name == kept else SessionState.RUNNING
            assert session.state is goal
            until(f"nothing is left to be done for {name}", partial(_has_no_reason, system, name))
            # That Docker was away may be said of one that was at its goal before, until it is looked after again.
            until(f"nothing more is said of {name}", partial(_says_nothing, system, name))
        for name in coming:
            system.write_file(name, "made")
        assert system.wrong() == []
        client.start_session(kept)
        assert system.settled(kept).desired is DesiredState.RUNNING  # type: ignore[union-attr]
        system.require_file(kept, "kept")
        for name in (kept, *coming):
            client.delete_session(name)
    for name in (kept, *coming):
        assert system.settled(name) is None
    assert system.wrong() == []


WAYS: Final = ("kill", "power")
ROUNDS: Final = 10 if FULL else 1


@pytest.fixture
def sessions(system: FaultySystem[OwnEngine]) -> Iterator[tuple[Vps, Vps]]:
    """Two, of an image of their own with a volume."""
    name = unique("files") + ":latest"
    import_image(archive_with((), empty=("old/deep/file", "data/seed")), name, system.engine.host, VOLUME)
    made = Vps(system, name, system.engine.docker), Vps(system, name, system.engine.docker)
    yield made
    for one in made:
        one.remove()
    system.engine.import_busybox()  # a prune removed it


@pytest.mark.parametrize("system", [False, True] if FULL else [False], ids=str, indirect=True)
def test_every_file_outlives_kills_of_everything_power_cuts_and_a_prune_of_everything(
    system: FaultySystem[OwnEngine], sessions: tuple[Vps, Vps]
) -> None:
    """One session runs all the time; the other is stopped, and a prune leaves only its copy."""
    runs, sleeps = sessions
    engine = system.engine
    expected = {one: one.fill() for one in sessions}

    def require_files(one: Vps) -> None:
        session = system.settled(one.name)
        assert session is not None
        assert session.state is SessionState.RUNNING, session.message
        assert one.manifests() == expected[one]

    for way in WAYS * ROUNDS:
        sleeps.stop()
        system.kill_all()
        if way == "kill":
            engine.kill_all()
            engine.start()
            system.up()
        else:
            engine.power_off()
            engine.start()
            system.boot()
        require_files(runs)
        sleeps.start()
        require_files(sleeps)
    causes = [ended.last_exit.cause for one in sessions if (ended := system.session(one.name)) and ended.last_exit]
    assert causes == ["runner_lost", "stopped"]
    assert (runs.inside() / SOCKET).is_socket()

    container = ("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", f"netvps-vps-{runs.uid}")
    sleeps.stop()
    before = engine.docker(*container)
    engine.docker("system", "prune", "-af", "--volumes")
    assert engine.docker(*container) == before
    assert engine.docker("ps", "-aq", "--filter", f"label={LABEL_SESSION}={sleeps.uid}") == ""
    sleeps.start()
    for one in sessions:
        require_files(one)
    system.netvps("stop", runs.name)
    engine.docker("system", "prune", "-af", "--volumes")  # at once, before its files are copied
    runs.start()
    require_files(runs)
    runs.stop()
    engine.docker("system", "prune", "-af", "--volumes")
    assert engine.docker("volume", "ls", "-q", "--filter", f"label={LABEL_SESSION}={runs.uid}") == ""
    runs.start()
    require_files(runs)
    assert not (runs.inside() / SOCKET).exists()  # the one thing that a copy leaves out


def _has_no_reason(system: FaultySystem[OwnEngine], name: str) -> bool:
    """Such as that its snapshot is still to be taken."""
    session = system.session(name)
    return session is not None and session.reason == ""


def _says_nothing(system: FaultySystem[OwnEngine], name: str) -> bool:
    return _message(system, name) == ""


def _message(system: FaultySystem[OwnEngine], name: str) -> str:
    session = system.session(name)
    return session.message if session else "gone"
