"""The scripts say what they do, refuse what they do not know, and are sound as far as bash can tell."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.progress import seconds_left

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if not path.name.startswith("_"))
SOURCED = sorted((ROOT / "scripts").glob("_*"))


def _run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_says_what_it_does(script: Path) -> None:
    answer = _run(script, "--help")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"scripts/{script.name}")
    assert "set -euo pipefail" not in answer.stdout


@pytest.mark.parametrize(
    "script", [*SCRIPTS, *(ROOT / "scripts").glob("_*"), ROOT / ".ci/run"], ids=lambda path: path.name
)
def test_bash_can_parse_it(script: Path) -> None:
    answer = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["check", "docs", "gen", "images", "lock", "lab", "release-notes", "up", "wheel"])
def test_an_unknown_flag_is_refused(name: str) -> None:
    answer = _run(ROOT / "scripts" / name, "--no-such-flag")
    assert answer.returncode == 2
    assert f"scripts/{name}" in answer.stderr


def _installed(folder: Path, digest: str) -> str:
    """What scripts/up says while it installs sources of this digest; a build is a file."""
    words = f"""
        set -euo pipefail
        source scripts/_env.sh
        source scripts/_install.sh
        base={folder}/opt links={folder}/bin
        sources_digest() {{ echo {digest}; }}
        build_program() {{ mkdir -p "$1/bin"; echo {digest} >"$1/bin/netvps"; touch "$1/complete"; }}
        installed=
        umask 077
        install_program
        echo "installed: $installed"
    """
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_an_update_replaces_the_program_in_one_step_and_keeps_the_last_one(tmp_path: Path) -> None:
    program = tmp_path / "bin/netvps"
    for number, digest in enumerate(("aa", "bb", "cc")):
        assert "installed: yes" in _installed(tmp_path, digest)
        assert program.read_text() == f"{digest}\n"
        os.utime(tmp_path / "opt/versions" / digest, (number, number))
    assert "installed: \n" in _installed(tmp_path, "cc")
    assert {folder.name for folder in (tmp_path / "opt/versions").iterdir()} == {"bb", "cc"}
    assert program.readlink() == tmp_path / "opt/current/bin/netvps"


def test_a_change_of_any_packaged_source_is_an_update(tmp_path: Path) -> None:
    """Else scripts/up would go on with the copy that it installed before."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for folder in [*packages, "tunnel"]:
        (tmp_path / folder).mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        (tmp_path / name).touch()
    words = f"source scripts/_install.sh; root={tmp_path}; sources_digest"

    def digest() -> str:
        done = subprocess.run(["bash", "-ec", words], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
        return done.stdout

    seen = {digest()}
    for folder in [*packages, "tunnel"]:
        (tmp_path / folder / "source").touch()
        assert digest() not in seen, folder
        seen.add(digest())


def test_every_account_can_read_what_root_installs(tmp_path: Path) -> None:
    _installed(tmp_path, "aa")
    for path in (tmp_path / "opt/versions/aa/bin/netvps", tmp_path / "opt/versions", tmp_path / "opt"):
        assert path.stat().st_mode & 0o004, path


def test_another_program_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/netvps").write_text("mine")
    assert "is another program" in _installed(tmp_path, "aa")
    assert (tmp_path / "bin/netvps").read_text() == "mine"


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
        from tests.support.progress import Progress

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
