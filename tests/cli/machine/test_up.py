"""`netvps up`: a start in the background, and how it went."""

from __future__ import annotations

import sys

import pytest

import netvps.cli.machine.up as up_module
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        (
            "import sys; print('netvps runs; its log is X', file=sys.stderr)",
            0,
            "netvps runs; its log is X\nnext: netvps create\n",
        ),
        (
            "import sys; print('netvps up: port 2222 is taken', file=sys.stderr); sys.exit(10)",
            10,
            "netvps up: port 2222 is taken\n",
        ),
        ("import sys; sys.exit(1)", 1, "netvps: `up` did not start"),
    ],
)
def test_up_says_how_the_start_went(
    program: str, code: int, said: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_module, "command", lambda _program, _arguments: [sys.executable, "-c", program])
    ran = run("up")
    assert ran.code == code
    assert said in ran.err
    assert ran.err.startswith("starting control plane, gateway and runner")


def test_ctrl_c_waits_until_what_was_started_has_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import os, signal, sys, time
def ended(*_):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("netvps up: interrupted; the programs it had started were stopped", file=sys.stderr)
    sys.exit(130)
signal.signal(signal.SIGINT, ended)
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""
    monkeypatch.setattr(up_module, "command", lambda _program, _arguments: [sys.executable, "-c", program])
    ran = run("up")
    assert ran.code == 130
    assert ran.err.splitlines()[-1] == "netvps up: interrupted; the programs it had started were stopped"


def test_restart_checks_the_settings_before_it_ends_anything(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    monkeypatch.setattr(up_module, "end", ended.append)
    assert run("up", "--restart", "--overlay-pool", "8.8.0.0/16").code == 10
    assert ended == []
    monkeypatch.setattr(up_module, "command", lambda _program, _arguments: [sys.executable, "-c", ""])
    assert run("up", "--restart").code == 0
    assert ended == [None]
