"""Elements as the kernel takes them are those that nft makes of the same text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from netvps.adapters.filter.batch import Batch
from netvps.adapters.filter.elements import requests
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.rules.nft import Chain, Elements, Ruleset, Set, Table
from netvps.adapters.netlink.wire import attributes, messages
from tests.support.namespaces import Namespace, namespace

ADDRESSES = st.ip_addresses(v=4).map(str)
MACS = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
LINKS = st.text("abcXYZ019-.@", min_size=1, max_size=15).filter(lambda name: name not in {".", ".."}).map('"{}"'.format)
MARKS = st.integers(0, (1 << 32) - 1).map(str)
VERDICTS = st.sampled_from(["jump one", "goto one", "jump two"])
SUBNETS = st.integers(0, 1023).map(lambda n: f"10.128.{n // 256}.{n % 256}/32") | st.sampled_from(
    [f"10.129.{4 * n}.0/22" for n in range(5)]
)
KINDS: dict[str, tuple[Set, st.SearchStrategy[str]]] = {
    "addresses": (Set("ipv4_addr"), ADDRESSES),
    "ports": (Set("ifname"), LINKS),
    "pairs": (Set("ether_addr . ipv4_addr"), st.builds("{} . {}".format, MACS, ADDRESSES)),
    "bound": (Set("ifname . ether_addr . ipv4_addr"), st.builds("{} . {} . {}".format, LINKS, MACS, ADDRESSES)),
    "senders": (Set("ipv4_addr . mark"), st.builds("{} . {}".format, ADDRESSES, MARKS)),
    "senders6": (Set("ipv6_addr . mark"), st.builds("{} . {}".format, st.ip_addresses(v=6).map(str), MARKS)),
    "sources": (Set("ether_addr . ipv4_addr", interval=True), st.builds("{} . {}".format, MACS, SUBNETS)),
    "owners": (Set("ipv4_addr : verdict"), st.builds("{} : {}".format, ADDRESSES, VERDICTS)),
}
CHAINS = {"one": Chain(("accept",)), "two": Chain(("drop",))}
Contents = dict[str, frozenset[str]]


def _tables(contents: Contents, *names: str) -> Ruleset:
    sets = {kind: replace(of, elements=contents[kind]) for kind, (of, _) in KINDS.items()}
    return Ruleset({name: Table(sets, CHAINS) for name in names})


def _unique(elements: frozenset[str]) -> frozenset[str]:
    """By key."""
    return frozenset({element.partition(" : ")[0]: element for element in sorted(elements)}.values())


contents = st.fixed_dictionaries({kind: st.frozensets(of, max_size=5).map(_unique) for kind, (_, of) in KINDS.items()})


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


def _listed(host: Namespace, table: str) -> dict[str, list[str]]:
    said: list[dict[str, Any]] = json.loads(host.run("nft", "-j", "list", "table", *table.split()))["nftables"]
    found = [value for item in said for kind, value in item.items() if kind in {"set", "map"}]
    return {each["name"]: sorted(map(json.dumps, each.get("elem", ()))) for each in found}


@pytest.mark.netns
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents, contents, contents, st.sampled_from(["inet", "bridge"]))
def test_they_become_what_nft_makes_of_them(
    host: Namespace, kept: Contents, before: Contents, after: Contents, family: str
) -> None:
    """Some stay, some go, and some come."""
    old, new = ({kind: _unique(kept[kind] | part[kind]) for kind in KINDS} for part in (before, after))
    ours, theirs = f"{family} ours", f"{family} theirs"
    host.run("nft", "-f", "-", stdin=_tables(old, ours).text + _tables(new, theirs).text)
    edit = _tables(new, ours).changes_from(_tables(old, ours))
    assume(edit.text)
    assert edit.elements is not None
    with host.inside(), closing(Batch()) as opened:
        now = generation()
        assert now is not None
        assert opened.change(edit.elements, now) is None
        assert generation() == now + 1
    assert _listed(host, ours) == _listed(host, theirs)


def test_messages_are_small_enough_for_their_attributes() -> None:
    many = frozenset(f"10.0.{n // 256}.{n % 256}" for n in range(1000))
    sent = list(requests(Elements("inet t", "s", Set("ipv4_addr"), gone=frozenset({"10.1.0.0"}), come=many)))
    assert len(sent) == 5
    ((_, _, _, _, body),) = messages(sent[1])
    found = attributes(body, 4)
    assert (found[1], found[2]) == (b"t\0", b"s\0")
    assert found[3].count(b"\x0a\x00") == 256


@pytest.mark.parametrize(
    ("of", "element"),
    [
        (Set("ipv4_addr", interval=True), "10.0.0.0/8"),
        (Set("ipv4_addr : mark"), "10.0.0.1 : 7"),
        (Set("ipv4_addr : verdict"), "10.0.0.1"),
        (Set("ipv4_addr : verdict"), "10.0.0.1 : accept"),
        (Set("ipv4_addr"), "10.0.0.1 . 10.0.0.2"),
        (Set("ipv4_addr"), "10.0.0.0/8"),
        (Set("ipv4_addr"), "10.0.0"),
        (Set("inet_service"), "22"),
        (Set("ifname"), '"a-name-of-16-byt"'),
        (Set("mark"), "4294967296"),
    ],
)
def test_what_is_not_known_is_not_guessed(of: Set, element: str) -> None:
    with pytest.raises(ValueError, match=re.escape(element)):
        list(requests(Elements("inet t", "s", of, come=frozenset({element}))))


def test_nor_is_a_family() -> None:
    with pytest.raises(ValueError, match="family arp"):
        list(requests(Elements("arp t", "s", Set("ipv4_addr"), come=frozenset({"10.0.0.1"}))))
