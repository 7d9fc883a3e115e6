"""What people type for sizes and limits, and the option's own name in what is said of a mistake."""

from __future__ import annotations

import pytest

from netvps import exit_codes
from netvps.cli.session.spec_options import options_named
from netvps.domain.sleep.policy import SleepPolicy
from netvps.errors import InvalidInput, Violation
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("typed", "size"),
    [("2G", 2 << 30), ("2Gi", 2 << 30), ("2GiB", 2 << 30), ("512MiB", 512 << 20), ("512mb", 512 << 20), ("0", 0)],
)
def test_a_memory_limit_is_taken_as_people_type_it(typed: str, size: int, run: Run, fake: FakeClient) -> None:
    assert run("create", "dev1", "--memory", typed, "--dry-run").code == 0
    assert fake.asked[0][2].memory_bytes == size


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--memory", "2"], "--memory: 2 is less than 6291456 (6 MiB); 0 means no limit"),
        (["--memory", "5M"], "--memory: 5242880 is less than 6291456 (6 MiB)"),
        (["--disk", "1M"], "--disk: 1048576 is not between 67108864 (64 MiB)"),
        (["--gpus", "-1"], "--gpus: -1 is not between 1 and 64"),
        (["--gpu", "all"], "--gpu 0: 'all' is not the UUID of a GPU"),
        (["--open-files", "5"], "--open-files: 5 is not between 1024 and 1048576"),
        (["--shm-size", "1K"], "--shm-size: 1024 is not between 65536 (64 KiB)"),
        (["--pids", "3"], "--pids: 3 is not between 16 and 4194304"),
        (["--image", "UP case"], "--image: 'UP case' is not an image reference"),
        (["--env", "1A=x"], "--env '1A': a name is letters, digits and '_'"),
        (["--label", "UP=x"], "--label 'UP': a key is"),
        (["--stop-keep", "101"], "--stop-keep: 101 is not between 1 and 100"),
        (["--stop-max-age", "1s"], "--stop-max-age: 1 seconds are not between 1 minute and 10 years"),
        (["--copies", "17"], "--copies: 17 is not between 1 and 16"),
        (["--idle-stop", "5s"], "--idle-stop: 5 seconds are not between 30 seconds and 365 days"),
        (["--idle-pause", "soon"], "--idle-pause: 'soon' is not a time"),
        (["--idle-pause", "0s"], "--idle-pause: '0s' is no time without activity: give for example 2h, or never"),
        (["--awake", "9 to 5"], "--awake: '9 to 5' is no time of the day in UTC: give for example 08:00-18:30"),
        (["--lifetime", "1s"], "--lifetime: 1 seconds are not between 1 minute"),
        (["--idle-cpus", "0.001"], "--idle-cpus: 0.001 is not between 0.01 and 1024"),
        (["--stop-grace", "1h"], "--stop-grace: 3600.0 is not between 0 and 600 seconds"),
    ],
)
def test_a_mistake_is_named_by_its_option(words: list[str], shown: str, run: Run, fake: FakeClient) -> None:
    ran = run("create", *words)
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert ran.err.startswith(f"netvps: {shown}")


def test_what_the_server_says_of_a_field_is_named_by_its_option() -> None:
    with pytest.raises(InvalidInput) as raised, options_named():
        raise InvalidInput(
            Violation("spec.memory_bytes", "too few"), Violation("session_id", "no"), Violation("x", "y")
        )
    assert str(raised.value) == "--memory: too few; NAME: no; x: y"


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ([], SleepPolicy()),
        (["--idle-pause", "30m", "--idle-stop", "never"], SleepPolicy(1800.0, 0.0)),
        (["--idle-stop", "default", "--awake", "always"], SleepPolicy()),
        (
            ["--lifetime", "12h", "--awake", "mon-fri 08:00-18:00", "--idle-cpus", "0.5"],
            SleepPolicy(None, None, 43_200.0, "mon-fri 08:00-18:00", 0.5),
        ),
    ],
)
def test_when_it_sleeps(words: list[str], policy: SleepPolicy, run: Run, fake: FakeClient) -> None:
    assert run("create", "dev1", *words, "--dry-run").code == 0
    assert fake.asked[0][2].sleep == policy
