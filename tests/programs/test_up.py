"""How `netvps up` starts its two programs; what becomes of them is in tests/e2e."""

from __future__ import annotations

import asyncio
import stat
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest

from netvps.config import paths
from netvps.errors import AlreadyExists, Unavailable
from netvps.process import clock
from netvps.process.stopping import Stop
from netvps.process.supervisor import ChildDied
from netvps.programs import up
from netvps.programs.wiring.control_plane import build
from netvps.settings import ServerSettings, load
from tests.programs.test_runner import joined


def test_settings_reach_the_programs_as_flags_but_secrets_do_not(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:hush@h/d")
    flags = {"ssh_port": "22", "state_dir": "/s", "database_url_file": str(tmp_path / "url")}
    reported = up._arguments(load(ServerSettings, flags))
    assert reported == ["--database-url-file", f"{tmp_path}/url", "--ssh-port", "22", "--state-dir", "/s"]


def test_an_empty_variable_is_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files set variables to "" by default, and no flag may be empty."""
    monkeypatch.setenv("NETVPS_PUBLIC_NAME", "")
    assert up._arguments(load(ServerSettings, {"ssh_port": "22"})) == ["--ssh-port", "22"]


@pytest.mark.parametrize(
    ("listen", "host"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("192.0.2.1", "192.0.2.1")],
)
def test_the_runner_finds_the_server_wherever_it_listens(listen: str, host: str) -> None:
    settings = load(ServerSettings, {"listen": listen})
    assert up._to(settings) == ["--server", f"{host}:7443", "--link", f"{host}:7444"]


async def test_the_join_token_is_in_a_private_file_for_as_long_as_needed(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    folders = settings.paths
    folders.prepare()
    async with build(settings), up._join_token(folders) as flags:
        file = Path(flags[1])
        assert flags[0] == "--join-token-file"
        assert file.read_text().startswith("nvj_")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


def test_a_token_whose_telling_was_cut_off_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library asks again by itself, and the server, back again, does not tell a secret twice."""
    answers: list[str] = ["lost", "reported"]

    class Server:
        def __init__(self, endpoint: object) -> None: ...

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def create_join_token(self) -> tuple[str, None]:
            if (answer := answers.pop(0)) == "lost":
                raise AlreadyExists("its secret is shown only once")
            return answer, None

    monkeypatch.setattr(up, "Client", Server)
    assert up._create_join_token(paths(str(tmp_path / "s"), str(tmp_path / "r")))[0] == "reported"


async def test_a_machine_that_joined_needs_no_token(server_flags: dict[str, str]) -> None:
    folders = load(ServerSettings, server_flags).paths
    folders.prepare()
    joined(folders.state, clock.now())
    async with up._join_token(folders) as flags:
        assert flags == []


@pytest.mark.parametrize("days", [-100, 100])
async def test_a_machine_whose_certificate_is_not_valid_joins_again(server_flags: dict[str, str], days: int) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    joined(settings.paths.state, clock.now() + timedelta(days=days))
    async with build(settings), up._join_token(settings.paths) as flags:
        assert flags[0] == "--join-token-file"


async def test_a_second_signal_hurries_the_server() -> None:
    class Impatient:
        hurried = asyncio.Event()

        def hurry(self) -> None:
            self.hurried.set()

    stop, child = Stop(), Impatient()
    stop.request()
    stop.request()
    await up._hurry(stop, child)  # type: ignore[arg-type]
    assert child.hurried.is_set()


class Control:
    """A server that died `deaths` times."""

    def __init__(self) -> None:
        self.deaths = 0
        self.serving = asyncio.Event()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_FIRST_PAUSES", (0.0, 0.0))


@pytest.mark.usefixtures("quick")
async def test_a_program_that_dies_at_its_first_start_is_started_again() -> None:
    outcomes: list[Exception | None] = [ChildDied("killed"), ChildDied("killed"), None]

    async def start() -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    await up._insist(start, Control())  # type: ignore[arg-type]
    assert outcomes == []


@pytest.mark.usefixtures("quick")
async def test_one_that_dies_each_time_is_said_to() -> None:
    tries = []

    async def start() -> None:
        tries.append(1)
        raise ChildDied("server ended with code -9 before it was ready")

    with pytest.raises(ChildDied, match="code -9"):
        await up._insist(start, Control())  # type: ignore[arg-type]
    assert len(tries) == 3


@pytest.mark.usefixtures("quick")
async def test_a_runner_whose_server_died_meanwhile_waits_for_it() -> None:
    control, tries = Control(), []

    async def start() -> None:
        tries.append(control.serving.is_set())
        if len(tries) == 1:
            control.deaths += 1
            asyncio.get_running_loop().call_later(0.05, control.serving.set)
            raise Unavailable("no server answers")

    await up._insist(start, control)  # type: ignore[arg-type]
    assert tries == [False, True]


@pytest.mark.usefixtures("quick")
async def test_an_error_of_its_own_is_reported_at_once() -> None:
    tries = []

    async def start() -> None:
        tries.append(1)
        raise Unavailable("Docker does not answer")

    with pytest.raises(Unavailable, match="Docker"):
        await up._insist(start, Control())  # type: ignore[arg-type]
    assert len(tries) == 1
