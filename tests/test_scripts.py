"""The scripts say what they do, refuse what they do not know, and are sound as far as bash can tell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.progress import seconds_left

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if not path.name.startswith("_"))


def _run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_says_what_it_does(script: Path) -> None:
    answer = _run(script, "--help")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"scripts/{script.name}")
    assert "set -euo pipefail" not in answer.stdout


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "scripts/_env.sh", ROOT / ".ci/run"], ids=lambda path: path.name)
def test_bash_can_parse_it(script: Path) -> None:
    answer = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["check", "docs", "gen", "lock", "lab", "up"])
def test_an_unknown_flag_is_refused(name: str) -> None:
    answer = _run(ROOT / "scripts" / name, "--no-such-flag")
    assert answer.returncode == 2
    assert f"scripts/{name}" in answer.stderr


@pytest.mark.slow
def test_the_fast_tests_need_no_engine_and_leave_out_what_is_slow() -> None:
    answer = _run(ROOT / "scripts/test", "--fast", "--collect-only", "-q", "-n", "0", "tests/programs")
    assert answer.returncode == 0, answer.stderr
    assert "test_up.py" in answer.stdout
    assert "test_server.py" not in answer.stdout


def test_a_run_says_how_far_it_is_and_by_the_times_of_the_last_one_how_much_is_left(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass\n\ndef test_two(): pass")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(
        """
        from tests.progress import Progress

        def pytest_configure(config):
            config.pluginmanager.register(Progress(config))
        """
    )
    first, second = (pytester.runpytest_inprocess() for _ in range(2))
    first.stdout.fnmatch_lines(["· 0 of 2 tests, 0 min"])
    second.stdout.fnmatch_lines(["· 0 of 2 tests, 0 min, about 1 min left"])


def test_the_time_left_is_that_of_earlier_runs() -> None:
    assert seconds_left(["a", "new"], {"a": 2.0, "b": 4.0}, 0, 0.0) == 5.0
    assert seconds_left(["a", "b"], {}, 4, 2.0) == 1.0
    assert seconds_left(["a"], {}, 0, 0.0) is None
