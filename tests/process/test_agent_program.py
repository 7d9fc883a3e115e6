from __future__ import annotations

from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.process.agent_program import agent_program


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "agent-linux-amd64"), ("aarch64", "agent-linux-arm64")])
def test_each_architecture_has_its_own(tmp_path: Path, machine: str, name: str) -> None:
    (tmp_path / name).touch()
    assert agent_program(tmp_path, machine) == tmp_path / name


def test_a_missing_one_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent-linux-amd64 is missing: install netvps again"):
        agent_program(tmp_path, "x86_64")


def test_an_unknown_architecture_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no agent for riscv64"):
        agent_program(tmp_path, "riscv64")
