"""Which events wake whom."""

from __future__ import annotations

import pytest

from netvps.adapters.docker.events import Events


@pytest.mark.parametrize(
    ("action", "labels", "woken"),
    [
        ("die", {"netvps.session_id": "a"}, ["a"]),
        ("oom", {"netvps.session_id": "a"}, ["a"]),
        ("exec_start: sh", {"netvps.session_id": "a"}, []),
        ("die", {}, []),
    ],
)
def test_an_event(action: str, labels: dict[str, str], woken: list[str]) -> None:
    heard: list[str] = []
    Events._tell({"Action": action, "Actor": {"Attributes": labels}}, heard.append)
    assert heard == woken
