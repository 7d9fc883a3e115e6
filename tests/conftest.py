"""Groups of tests (docker, netns, postgres, e2e): skipped where the machine lacks what they need, unless
NETVPS_REQUIRE names the group; then that is a failure."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from netvps.adapters.store import open_store
from tests.support.postgres import running_cluster
from tests.support.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tests.support.postgres import Cluster

ROOT = Path(__file__).parent.parent
pytest_plugins = ["pytester"]


def _lacks_docker() -> str:
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no Docker: {error}"
    return "" if answer.returncode == 0 else "no Docker engine answers"


def _lacks_namespaces() -> str:
    if os.geteuid() != 0:
        return "needs root"
    return "" if shutil.which("ip") and shutil.which("nsenter") else "needs the programs ip and nsenter"


def _lacks_postgres() -> str:
    return "" if shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) else "no PostgreSQL"


def _lacks_clients() -> str:
    missing = [name for name in ("ssh", "scp", "sftp", "rsync", "ssh-keygen") if shutil.which(name) is None]
    return f"missing: {', '.join(missing)}" if missing else ""


GROUPS: dict[str, Callable[[], str]] = {
    "docker": cache(_lacks_docker),
    "netns": cache(_lacks_namespaces),
    "postgres": cache(_lacks_postgres),
    "e2e": cache(_lacks_clients),
}


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("NETVPS_REQUIRE", "").split(",") if name.strip()}


FULL = bool(os.environ.get("NETVPS_FULL"))
"""Whether properties are tried with many examples, and tests that sample their cases run all of them."""

# No deadline: the machine may be busy.
settings.register_profile(
    "netvps", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1000 if FULL else 30
)
settings.load_profile("netvps")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("netvps")
    group.addoption("--kills", type=int, default=0, help="how often tests of random kills kill (0: as each has it)")
    group.addoption("--changes", type=int, default=300 if FULL else 150, help="of tests/e2e/overlay/test_changes.py")
    group.addoption("--progress", action="store_true", help="say every 30 s how far the run is and what it still takes")
    group.addoption("--seed", default="", help="what these two did, again; by default something new")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what is to run in the background deaf to SIGINT, and so would be all programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("progress"):
        config.pluginmanager.register(Progress(config))
    if unknown := _required() - GROUPS.keys():
        raise pytest.UsageError(f"NETVPS_REQUIRE: unknown {sorted(unknown)}; known are {sorted(GROUPS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, lacks in GROUPS.items():
        if item.get_closest_marker(name) and (reason := lacks()) and name not in _required():
            pytest.skip(f"{name}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip in a required group is a failure, wherever it comes from."""
    report = yield
    required = [name for name in GROUPS if name in _required() and item.get_closest_marker(name)]
    if report.skipped and required and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though NETVPS_REQUIRE names {', '.join(required)}: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads the settings, contexts or keys of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("NETVPS_") and name != "NETVPS_REQUIRE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for all tests that want databases."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the present schema and no rows, to copy: the migrations take longer than most tests."""
    database = tmp_path_factory.mktemp("migrated") / "store.db"

    async def make() -> None:
        async with open_store(f"sqlite:///{database}", lambda: datetime.now(UTC)):
            pass

    asyncio.run(make())
    return database
