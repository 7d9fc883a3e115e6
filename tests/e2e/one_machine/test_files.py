"""The files of a session are what they were after stops, kills and prunes; what a database acknowledged stays.

What happens to the engine and to the machine is in tests/e2e/faults/test_engine.py.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from netvps.domain.runner.docker_names import container_name
from tests.e2e.databases import DATABASES, Database, Writer, files_of_databases, missing_programs, numbers, run
from tests.e2e.system import System, docker, unique
from tests.e2e.vps import SOCKET, VOLUME, Vps
from tests.support.images import archive_with, import_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
FULL: Final = bool(os.environ.get("NETVPS_FULL"))
CYCLES: Final = 50 if FULL else 3


@contextmanager
def _session(system: System, files: Iterable[tuple[Path, str]] = ()) -> Iterator[Vps]:
    """One with these files of the machine, and of an image of its own, which a prune may remove."""
    name = unique("nve-files") + ":latest"
    archive = archive_with(files, empty=("old/deep/file", "data/seed"))
    import_image(archive, name, changes=(*VOLUME, f"LABEL {name}=1"))
    made = Vps(system, name)
    try:
        yield made
    finally:
        made.remove()
        docker("rmi", "-f", name, check=False)


@pytest.fixture
def vps(system: System) -> Iterator[Vps]:
    with _session(system) as made:
        yield made


@pytest.fixture
def with_databases(system: System) -> Iterator[Vps]:
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}")
    with _session(system, files_of_databases()) as made:
        yield made


def test_every_file_is_what_it_was(system: System, vps: Vps) -> None:
    """After stops and starts, a kill of all of netvps in between, and a prune of everything."""
    expected = vps.fill()
    for cycle in range(CYCLES):
        vps.stop()
        vps.start()
        assert vps.manifests() == expected, f"after stop and start number {cycle + 1}"
    assert (vps.inside() / SOCKET).is_socket()
    system.netvps("stop", vps.name)
    for pid in (system.pid(), *system.processes()):
        os.kill(pid, signal.SIGKILL)
    system.up()
    vps.stop()
    vps.prune()
    assert not docker("volume", "ls", "-q", "--filter", f"label=netvps.session_id={vps.uid}")
    vps.start()
    assert vps.manifests() == expected
    assert not (vps.inside() / "data/seed").exists()
    assert not (vps.inside() / "old").exists()
    assert not (vps.inside() / SOCKET).exists()  # the one thing that a copy leaves out


def test_databases_keep_every_acknowledged_write(
    with_databases: Vps, record_property: Callable[[str, object], None]
) -> None:
    """After a stop, a kill of the container, a restart, and a prune of everything."""
    vps = with_databases
    acknowledged: dict[Database, set[int]] = {database: set() for database in DATABASES}
    for database in DATABASES:
        run(vps, database.make)

    def write_while(start: int, end: Callable[[], object]) -> None:
        with ExitStack() as stack:
            writers = {database: stack.enter_context(Writer(vps, database, start)) for database in DATABASES}
            end()
            for database, writer in writers.items():
                acknowledged[database].update(writer.end())

    def check() -> None:
        for database in DATABASES:
            lost = acknowledged[database] - numbers(vps, database)
            assert not lost, f"{database.name} lost {len(lost)} writes"

    write_while(0, vps.stop)
    vps.start()
    check()
    write_while(1_000_000, lambda: docker("kill", container_name(vps.uid)))
    vps.start()
    check()
    write_while(2_000_000, lambda: vps.system.netvps("restart", vps.name))
    check()
    vps.stop()
    vps.prune()
    vps.start()
    check()
    record_property("acknowledged", {database.name: len(found) for database, found in acknowledged.items()})
