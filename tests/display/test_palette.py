"""States for people."""

from __future__ import annotations

from netvps.display.palette import RGB, SGR, Tone, look
from netvps.domain.overlay.path import PathState
from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.session import SessionState


def test_every_state_has_a_look_of_its_own_kind() -> None:
    assert look("RUNNING").tone is Tone.GOOD
    assert look("FAILED").tone is look("OFFLINE").tone is look("DOWN").tone is Tone.BAD
    for state in [*SessionState, *RunnerState, *PathState]:
        shown = look(state)
        assert len(shown.glyph) == len(shown.plain) == 1
        assert shown.plain.isascii()
    assert look("something new").tone is Tone.BUSY


def test_every_tone_has_its_colours() -> None:
    assert set(RGB) == set(SGR) == set(Tone)
