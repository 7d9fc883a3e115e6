from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from netvps.cli.machine.overlay_words import gateway, overlay, short
from netvps.domain.overlay.peer_health import Problem
from tests.cli.fake_client import NOW, FakeClient


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no overlay: this kernel has no VXLAN; load the module (modprobe vxlan)", "this kernel has no VXLAN"),
        ("UDP port 14789 is taken: another program has it", "UDP port 14789 is taken"),
        ("box1 (192.0.2.1) gets no answer (none)", "box1 gets no answer"),
        ("x" * 45, "x" * 43 + "…"),
        ("", ""),
    ],
)
def test_a_message_begins_with_what_matters(message: str, said: str) -> None:
    assert short(message) == said


def test_a_gateway_is_there_until_it_is_said_no_more() -> None:
    view = FakeClient().get_runner("box1")
    assert gateway(view) == "no"
    view = replace(view, runner=replace(view.runner, gateway_until=NOW))
    assert [gateway(view, NOW + timedelta(seconds=late)) for late in (-1, 0, 1)] == ["yes", "no", "no"]


def test_yes_or_no_comes_first() -> None:
    client = FakeClient()
    assert overlay(client.get_runner("box1")) == "yes"
    client.problems = (Problem("one: two"),)
    assert overlay(client.get_runner("box1")) == "yes, but: one"
    client.overlay = False
    assert overlay(client.get_runner("box1")) == "no: one"
    client.problems = ()
    assert overlay(client.get_runner("box1")) == "no"
