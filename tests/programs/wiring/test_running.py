"""A second `netvps up` says what runs, and refuses flags that it would not apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.process.locks import hold
from netvps.process.pid_file import pid_file
from netvps.programs.wiring.running import Running, facts, find, plain, where
from netvps.settings import RunnerSettings, ServerSettings, load


def _settings(state: Path, **flags: str) -> list[ServerSettings | RunnerSettings]:
    given = {"state_dir": str(state), **flags}
    return [load(ServerSettings, given), load(RunnerSettings, {"state_dir": str(state)})]


def test_what_runs_is_described(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    settings = _settings(tmp_path, listen="::", ssh_port="22")
    with hold(tmp_path / "up.lock", "netvps up"), pid_file(tmp_path / "up.pid", facts(settings)) as kept:
        assert find(tmp_path) is None  # it starts
        kept.update(serving=True)
        running = find(tmp_path)
        assert running is not None
        assert f"ssh [::]:22, API [::]:7443, state {tmp_path}" in running.describe()
        kept.update(serving=False)
        assert find(tmp_path) is None  # it ends
    assert find(tmp_path) is None


def test_one_that_starts_right_now_is_not_described(tmp_path: Path) -> None:
    with hold(tmp_path / "up.lock", "netvps up"):
        assert find(tmp_path) is None
        (tmp_path / "up.pid").write_text('{"pid": 1, "started": 2}')
        assert find(tmp_path) is None


def test_the_same_flags_are_accepted_and_others_refused_with_the_remedy(tmp_path: Path) -> None:
    running = Running(7, "0.0.1", plain(_settings(tmp_path, listen="0.0.0.0")))
    running.refuse_other({"listen": "0.0.0.0"}, _settings(tmp_path, listen="0.0.0.0"))
    running.refuse_other({}, _settings(tmp_path))
    with pytest.raises(ConfigError, match="runs with --ssh-port 2222: `netvps up --ssh-port 22 --restart`"):
        running.refuse_other({"ssh_port": "22"}, _settings(tmp_path, ssh_port="22"))
    assert "of version 0.0.1, not" in running.describe()


def test_no_secret_is_revealed(tmp_path: Path) -> None:
    settings = load(ServerSettings, {"state_dir": str(tmp_path), "database_url": "postgresql://me:hush@h/d"})
    assert "hush" not in str(facts([settings]))
    assert where(plain([settings])).startswith("ssh 127.0.0.1:2222")
