"""What a probe makes of a client's first messages, and of the agent's answer. With real clients: test_wakes.py."""

from __future__ import annotations

import asyncio
import struct

import pytest
from asyncssh.packet import String

from netvps.domain.sleep.waking import LoginKind
from netvps.errors import Unavailable
from netvps.gateway.wake import terminal_probe
from netvps.gateway.wake.terminal_probe import TerminalProbe

OPEN, CONFIRMATION, FAILURE, ADJUST, DATA, REQUEST = 90, 91, 92, 93, 94, 98
WINDOW = 2 << 20


def opening(kind: str = "session") -> bytes:
    return bytes([OPEN]) + String(kind) + struct.pack("!III", 7, WINDOW, 32768)


def request(kind: str) -> bytes:
    return bytes([REQUEST]) + struct.pack("!I", 0) + String(kind) + b"\1"


def confirmation(number: int) -> bytes:
    return bytes([CONFIRMATION]) + struct.pack("!IIII", 7, number, 1 << 20, 32768)


class Agent:
    """Answers the opening by `answer`."""

    def __init__(self, answer: bytes | None) -> None:
        self.probe: TerminalProbe | None = None
        self.opened = b""
        self._answer = answer

    def send_packet(self, pkttype: int, *args: bytes) -> None:
        self.opened = bytes([pkttype]) + b"".join(args)
        if self._answer is not None:
            assert self.probe is not None
            assert self.probe.takes_answer(self._answer)


@pytest.fixture
async def sent() -> list[tuple[int, bytes]]:
    return []


@pytest.fixture
async def probe(sent: list[tuple[int, bytes]]) -> TerminalProbe:
    return TerminalProbe(lambda kind, rest: sent.append((kind, rest)))


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([opening(), request("env"), request("pty-req"), request("shell")], LoginKind.TERMINAL),
        ([opening(), request("exec")], LoginKind.PLAIN),
        ([opening(), request("subsystem")], LoginKind.PLAIN),
        ([opening("direct-tcpip")], LoginKind.PLAIN),
        ([bytes([OPEN, 0])], LoginKind.PLAIN),
    ],
)
async def test_a_terminal_is_asked_for_before_a_program(
    probe: TerminalProbe, messages: list[bytes], kind: LoginKind
) -> None:
    taken = [probe.take(message) for message in messages]
    assert await probe.kind() is kind
    assert sum(taken) == (messages[0] == opening())  # the opening is sent by the probe itself


async def test_silence_is_no_terminal(probe: TerminalProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_probe, "_REQUEST_SECONDS", 0.01)
    assert await probe.kind() is LoginKind.PLAIN


async def test_the_agent_gets_the_rest_of_the_window_and_the_client_that_of_the_agent(
    probe: TerminalProbe, sent: list[tuple[int, bytes]]
) -> None:
    probe.take(opening())
    probe.say("starting")
    assert [kind for kind, _ in sent] == [CONFIRMATION, DATA]
    assert sent[0][1] == struct.pack("!IIII", 7, 0, 0, 32768)
    agent = Agent(confirmation(0))
    await probe.open_at(agent)
    shown = len(b"netvps: starting\r\n")
    assert agent.opened == bytes([OPEN]) + String("session") + struct.pack("!III", 7, WINDOW - shown, 32768)
    assert sent[2:] == [(ADJUST, struct.pack("!II", 7, 1 << 20))]
    assert agent.probe is None
    probe.say("too late")
    assert not probe.takes_answer(confirmation(1))  # of another channel
    assert len(sent) == 3


@pytest.mark.parametrize(
    "answer", [confirmation(5), bytes([FAILURE]) + struct.pack("!II", 7, 1) + String("no") + String(""), None]
)
async def test_an_agent_that_opens_no_terminal_ends_the_login(
    probe: TerminalProbe, answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_probe, "_ANSWER_SECONDS", 0.01)
    probe.take(opening())
    with pytest.raises(Unavailable, match="the session opened no terminal"):
        await probe.open_at(Agent(answer))


async def test_a_full_window_shows_nothing_more(probe: TerminalProbe, sent: list[tuple[int, bytes]]) -> None:
    probe.take(bytes([OPEN]) + String("session") + struct.pack("!III", 7, 4100, 32768))
    for _ in range(3):
        probe.say("starting")
    assert [kind for kind, _ in sent] == [CONFIRMATION]
    assert asyncio.get_running_loop().is_running()
