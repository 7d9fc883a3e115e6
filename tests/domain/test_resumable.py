"""The client's end of a connection that outlives its carriers."""

from __future__ import annotations

import hashlib
import hmac
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.resumable import ID_SIZE, KEY_SIZE, OPEN_SIZE, RESUME_SIZE, WINDOW, Credential, Resumable
from netvps.errors import Unavailable
from tests.support.resumable_agent import AgentEnd, counts, frame


def received(end: Resumable, data: bytes) -> bytes:
    got = b"".join(bytes(piece) for piece in end.feed(memoryview(data)))
    end.read(0)
    return got


def sent(end: Resumable) -> bytes:
    return b"".join(b"".join(parts) for parts in iter(end.to_send, None))


@given(st.binary(max_size=5000), st.binary(max_size=5000), st.integers(), st.integers(1, 700))
@settings(deadline=None, max_examples=15)
def test_no_byte_is_lost_or_doubled_over_carriers_that_break(up: bytes, down: bytes, seed: int, most: int) -> None:
    chance = random.Random(seed)
    end, agent = Resumable(), AgentEnd(down)
    pieces = [up[at : at + 900] for at in range(0, len(up), 900)]
    got = b""
    for last in [False] * 30 + [True]:
        to_agent, to_client = end.attach(), agent.attach()
        for step in range(200):
            if not last and chance.random() < 0.1:  # it breaks, in mid-frame as a rule
                break
            cut = chance.randint(1, most) if not last else 1 << 20
            agent.feed(to_agent[:cut])
            got += received(end, to_client[:cut])
            if pieces and step % 2:
                end.take(pieces.pop(0))
            to_agent, to_client = to_agent[cut:] + sent(end), to_client[cut:] + agent.data(chance.randint(1, 2000))
    assert (agent.got, got) == (up, down)


def test_the_end_of_each_side_is_said_and_said_again() -> None:
    end, agent = Resumable(), AgentEnd()
    end.take(b"hello")
    end.take(b"")
    for _ in range(2):
        agent.feed(end.attach())
        received(end, agent.attach())
        agent.ended = False
        agent.feed(sent(end))
        assert (agent.got, agent.ended, end.room) == (b"hello", True, 0)
    assert received(end, frame(b"D", b"bye") + frame(b"C", b"why\xff") + b"nothing more") == b"bye"
    agent.feed(sent(end))
    assert (end.over, agent.over, end.to_send()) == ("why\ufffd", True, None)


def test_what_is_kept_is_bounded_and_confirmed_bytes_make_room() -> None:
    end = Resumable()
    end.attach()
    received(end, counts(0))
    end.take(bytes(WINDOW))
    assert end.room == 0
    sent(end)
    received(end, counts(WINDOW, 1000))  # it has them, and its user read some
    assert end.room == 1000


def test_a_client_that_reads_confirms_in_time() -> None:
    end, agent = Resumable(), AgentEnd(bytes(200_000))
    end.attach()
    received(end, agent.attach())
    agent.attached = True
    received(end, agent.data(100_000))
    assert end.to_send() is None
    received(end, agent.data(100_000))
    agent.feed(sent(end))
    assert agent.client_has == 200_000


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (counts(6), "it has 6 bytes, of 0 to 5"),
        (counts(3) + counts(2), "it has 2 bytes, of 0 to 5"),
        (counts(3, 4), "and used 4"),
        (counts(3, 2) + counts(3, 1), "and used 1"),
        (frame(b"D", b"x"), "bytes before their number"),
        (frame(b"D", bytes(262_145)), "a frame b'D' of 262145 bytes"),
        (frame(b"A", b"x"), "a frame b'A' of 1 bytes"),
        (frame(b"Z"), "a frame b'Z' of 0 bytes"),
        (frame(b"C", bytes(1025)), "a frame b'C' of 1025 bytes"),
    ],
)
def test_an_agent_that_lies_is_not_believed(lie: bytes, said: str) -> None:
    end = Resumable()
    end.take(b"hel")
    end.take(b"lo")
    end.attach()
    received(end, counts(0))
    sent(end)
    if said == "bytes before their number":
        end.attach()
    if said.startswith("it has 2"):
        said = "it has 2 bytes, of 3 to 5"
    with pytest.raises(Unavailable, match=said):
        received(end, lie)


def test_an_agent_that_sends_more_than_is_read_is_not_believed() -> None:
    end = Resumable()
    end.attach()
    said = counts(0) + frame(b"D", bytes(262_144)) * 17
    with pytest.raises(Unavailable, match="more than 4194304 bytes that were not read"):
        list(end.feed(memoryview(said)))


def test_each_proof_counts_once() -> None:
    key = bytes(range(ID_SIZE + KEY_SIZE))
    made = Credential(key)
    first, second, third = (made.attachment() for _ in range(3))
    assert first == b"\x01" + key
    assert (len(first), len(second)) == (OPEN_SIZE, RESUME_SIZE)
    begin, proof = third[: -hashlib.sha256().digest_size], third[-hashlib.sha256().digest_size :]
    assert begin == b"\x02" + key[:ID_SIZE] + (2).to_bytes(8, "big")
    assert hmac.compare_digest(proof, hmac.digest(key[ID_SIZE:], begin, "sha256"))
    assert second != third
