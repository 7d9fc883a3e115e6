"""Real packets between sessions (see lab.py): who hears whom, and who cannot pretend to be whom."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import closing, suppress

import pytest

from tests.adapters.filter.site.frames import BROADCAST, arp, ether
from tests.adapters.filter.site.lab import OUT, SESSIONS, Lab
from tests.adapters.filter.site.traffic import (
    ADDRESS,
    BRIDGE,
    END,
    HOME,
    MAC,
    UDP_PORT,
    bridge_mac,
    bridged,
    ears,
    put,
    routed,
    say,
)

pytestmark = pytest.mark.netns

OWN_MAC = "06:00:00:00:00:01"
_TRIES = 5
"""That was never assigned."""


def test_sessions_hear_only_those_of_their_owner(lab: Lab) -> None:
    with ears(lab, *SESSIONS) as all_ears:
        for sender, address in itertools.product(SESSIONS, ADDRESS.values()):
            say(lab, sender, address, sender.encode())
        heard = {name: {text.decode() for text in ear.heard()} for name, ear in zip(SESSIONS, all_ears, strict=True)}
    anns, bobs = {"ann1", "ann2", "ann3", "ann4", "ann5"}, {"bob1", "bob2"}
    assert heard == dict.fromkeys(anns, anns) | dict.fromkeys(bobs, bobs) | {"cyd1": {"cyd1"}}


def test_multicast_is_heard_by_the_owners_sessions_on_the_same_machine(lab: Lab) -> None:
    """Behind ports that are known: on "two" that is ann5's. Who sends hears itself, as it does anywhere."""
    group = "239.255.0.1"
    with ears(lab, *SESSIONS) as all_ears:
        for ear in all_ears:
            ear.join(group)
        for sender in SESSIONS:
            say(lab, sender, group, sender.encode())
        heard = {name: {text.decode() for text in ear.heard()} for name, ear in zip(SESSIONS, all_ears, strict=True)}
    expected = {name: {name} for name in SESSIONS}
    assert heard == expected | {"ann1": {"ann1", "ann2"}, "ann2": {"ann1", "ann2"}, "ann5": {"ann3", "ann4", "ann5"}}


def test_knowing_a_neighbours_mac_or_going_by_the_gateway_does_not_help(lab: Lab) -> None:
    with ears(lab, "ann2", "bob1") as (friend, stranger):
        for receiver in ("ann2", "bob1"):
            put(lab, "ann1", bridged("ann1", receiver, b"bridged"))
            put(lab, "ann1", routed(lab, "ann1", ADDRESS[receiver], b"routed"))
        assert friend.heard() == [b"bridged", b"routed"]
        assert stranger.heard() == []


LIES = {
    "its address": {"address": ADDRESS["ann1"]},
    "its mac": {"mac": MAC["ann1"]},
    "its address and mac": {"address": ADDRESS["ann1"], "mac": MAC["ann1"]},
    "a remote session's address": {"address": ADDRESS["ann3"]},
    "a remote session's address and mac": {"address": ADDRESS["ann3"], "mac": MAC["ann3"]},
    "the gateway's address": {"address": BRIDGE["door"]},
    "the bridge's address": {"address": BRIDGE["one"]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_session_cannot_pretend_to_be_another(lab: Lab, lie: dict[str, str]) -> None:
    with ears(lab, "ann2", "ann3", "out") as all_ears:
        put(lab, "bob1", bridged("bob1", "ann2", b"spoofed", **lie))
        for target in (ADDRESS["ann2"], ADDRESS["ann3"], OUT):
            put(lab, "bob1", routed(lab, "bob1", target, b"spoofed", **lie))
        assert [ear.heard() for ear in all_ears] == [[], [], []]


LIES_AT_UNKNOWN_PORTS = {
    "a neighbour's address": {"address": ADDRESS["ann3"]},
    "a neighbour's mac": {"mac": MAC["ann3"]},
    "a neighbour's address under a mac of its own": {"address": ADDRESS["ann3"], "mac": OWN_MAC},
    "a remote session's address": {"address": ADDRESS["ann1"]},
    "an outside address": {"address": "198.51.100.7", "mac": OWN_MAC},
}


@pytest.mark.parametrize("lie", LIES_AT_UNKNOWN_PORTS.values(), ids=LIES_AT_UNKNOWN_PORTS)
def test_a_session_whose_port_is_not_known_cannot_pretend_either(lab: Lab, lie: dict[str, str]) -> None:
    with ears(lab, "ann1", "ann4", "bob1", "out") as (ann1, ann4, bob1, out):
        put(lab, "bob2", bridged("bob2", "ann4", b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", OUT, b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", ADDRESS["ann1"], b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", ADDRESS["bob1"], b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", ADDRESS["bob1"], b"true"))
        assert [ann1.heard(), ann4.heard(), out.heard(), bob1.heard()] == [[], [], [], [b"true"]]


def test_an_address_that_a_session_gives_itself_is_of_no_use(lab: Lab) -> None:
    lab.run("bob1", "ip", "address", "add", "10.128.0.77/22", "dev", "eth0")
    try:
        with ears(lab, "bob2", "out") as all_ears, closing(lab.open("bob1")) as mouth:
            mouth.bind(("10.128.0.77", 0))
            for address in (ADDRESS["bob2"], OUT):
                mouth.sendto(b"spoofed", (address, UDP_PORT))
            assert [ear.heard() for ear in all_ears] == [[], []]
    finally:
        lab.run("bob1", "ip", "address", "delete", "10.128.0.77/22", "dev", "eth0")


@pytest.mark.parametrize("sender", ["bob1", "bob2"], ids=["known-port", "unknown-port"])
def test_the_bridge_learns_no_mac_that_is_not_the_senders(lab: Lab, sender: str) -> None:
    """Frames of link-local protocols (the last) go past all hooks."""
    runner, victim = HOME[sender], "ann1" if sender == "bob1" else "ann3"
    with ears(lab, victim) as (ear,):
        say(lab, victim, BRIDGE[runner], b"here I am")
        assert ear.heard() == []
        for target in (BROADCAST, bridge_mac(lab, runner), "01:80:c2:00:00:00", "01:80:c2:00:00:0e"):
            for kind in (0x0800, 0x0806, 0x86DD, 0x88CC):
                put(lab, sender, ether(MAC[victim], target, bytes(60), kind))
        table = lab.run(runner, "bridge", "fdb", "show", "br", "nvbr0").splitlines()
    learned = {words[2] for words in map(str.split, table) if words[0] == MAC[victim]}
    assert learned == {f"p-{victim}"}


@pytest.mark.parametrize(("asker", "friend", "stranger"), [("ann1", "ann2", "bob1"), ("ann3", "ann4", "bob2")])
def test_arp_is_answered_within_an_owner_and_by_the_gateway(lab: Lab, asker: str, friend: str, stranger: str) -> None:
    gateway = BRIDGE[HOME[asker]]
    allowed = {MAC[asker], MAC[stranger], OWN_MAC}  # others on the bridge ask, too, and may
    with closing(lab.wire(stranger)) as wire, closing(lab.wire(asker)) as asking:
        for mac, address in ((OWN_MAC, OUT), (MAC[stranger], ADDRESS[stranger])):
            put(lab, stranger, ether(mac, BROADCAST, arp(mac, address, ADDRESS[asker]), 0x0806))
        answered: set[str] = set()
        for _ in range(_TRIES):  # ARP is for asking again: a busy machine drops frames
            for asked in (ADDRESS[friend], ADDRESS[stranger], gateway):
                asking.send(ether(MAC[asker], BROADCAST, arp(MAC[asker], ADDRESS[asker], asked), 0x0806))
            answered |= _answers(asking, allowed, ADDRESS[friend], gateway)
            if len(answered) > 1:
                break
        assert answered == {ADDRESS[friend], gateway}
        put(lab, stranger, ether(MAC[stranger], BROADCAST, arp(MAC[stranger], ADDRESS[stranger], gateway), 0x0806))
        assert _answers(wire, allowed, gateway) == {gateway}


def _frames(wire: socket.socket) -> Iterator[bytes]:
    with suppress(TimeoutError):
        while True:
            yield wire.recv(2048)


def _answers(wire: socket.socket, allowed: Collection[str], *expected: str) -> set[str]:
    """Addresses that ARP replies to these MACs are of, until all that are expected are there."""
    found: set[str] = set()
    for frame in _frames(wire):
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x02" and frame[:6].hex(":") in allowed:
            found.add(socket.inet_ntoa(frame[28:32]))
            if found >= {*expected}:
                break
    return found


@pytest.mark.parametrize("mac", [MAC["bob1"], MAC["bob2"], OWN_MAC])
@pytest.mark.parametrize(("liar", "victim", "claimed"), [
    ("bob1", "ann1", ADDRESS["ann2"]), ("bob1", "ann1", BRIDGE["one"]),
    ("bob2", "ann4", ADDRESS["ann3"]), ("bob2", "ann4", BRIDGE["two"]),
])  # fmt: skip
def test_an_arp_reply_of_the_wrong_session_is_not_believed(
    lab: Lab, liar: str, victim: str, claimed: str, mac: str
) -> None:
    runner = HOME[victim]
    with ears(lab, *(name for name in SESSIONS if HOME[name] == runner)) as all_ears:
        for address in (*(ear.address for ear in all_ears), BRIDGE[runner]):
            say(lab, victim, address, b"")  # so that it knows them all
        for ear in all_ears:
            ear.heard()
        for source, target in itertools.product((mac, MAC[victim]), (MAC[victim], bridge_mac(lab, runner), BROADCAST)):
            for asked in (ADDRESS[victim], BRIDGE[runner]):
                put(lab, liar, ether(source, target, arp(mac, claimed, asked, reply=True), 0x0806))
    for name in (victim, runner):
        assert mac not in lab.run(name, "ip", "neighbour", "show", claimed)


@pytest.mark.parametrize(
    ("sender", "receiver", "mac"),
    [("ann1", "ann2", MAC["ann1"]), ("ann3", "ann4", MAC["ann3"]), ("bob2", "ann5", OWN_MAC)],
    ids=["known ports", "unknown ports", "an unknown port under a mac of its own"],
)
@pytest.mark.parametrize("kind", [0x86DD, 0x8100, 0x88A8, 0x0026], ids=["ipv6", "vlan", "qinq", "llc"])
def test_nothing_but_ipv4_and_arp_passes_the_bridge(lab: Lab, kind: int, sender: str, receiver: str, mac: str) -> None:
    tagged = struct.pack("!HH", 5, 0x0800) + bridged(sender, receiver, b"tagged")[14:]
    with closing(lab.wire(receiver)) as wire, ears(lab, receiver) as (ear,):
        for target in (MAC[receiver], BROADCAST):
            put(lab, sender, ether(mac, target, tagged, kind))
        assert ear.heard() == []
        frames = itertools.takewhile(lambda frame: END not in frame, _frames(wire))
        assert not [frame for frame in frames if b"tagged" in frame]
