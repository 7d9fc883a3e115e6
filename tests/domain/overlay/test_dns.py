"""The answers that a session, the machine and a stranger get."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.overlay.dns import ZONE, Answer, Directory, Names, Outcome
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate

BRIDGE = "10.128.4.1"
WEB = Endpoint("s1", "web", "ann", "10.128.4.2")
DB = Endpoint("s2", "db", "ann", "10.128.8.7")
OTHER = Endpoint("s3", "web", "bob", "10.128.4.3")
ENDPOINTS = {end.session: end for end in (WEB, DB, OTHER)}
TYPES = ("A", "AAAA", "PTR", "SOA", "NS", "MX", "TXT", "ANY")


def names(pool: str = "10.128.0.0/10", endpoints: dict[str, Endpoint] = ENDPOINTS) -> Names:
    directory = Directory()
    directory.follow(Netmap(endpoints=endpoints))
    return Names(directory, IPv4Network(pool), BRIDGE, 42)


def ask(asker: str, name: str, kind: str = "A") -> str:
    """The answer as a line: the records' values, or the outcome."""
    answer = names().answer(asker, tuple(name.split(".")), kind)
    if answer is None:
        return "not ours"
    assert bool(answer.authority) == (not answer.records and answer.outcome is not Outcome.REFUSED)
    return " | ".join(record.value for record in answer.records) or answer.outcome


@pytest.mark.parametrize(
    ("asker", "name", "kind", "answer"),
    [
        (WEB.address, "db.ann.nv.internal", "A", "10.128.8.7"),
        (WEB.address, "db.ann.nv.internal", "ANY", "10.128.8.7"),
        (WEB.address, "db.nv.internal", "A", "10.128.8.7"),
        (WEB.address, "web.nv.internal", "A", "10.128.4.2"),
        (OTHER.address, "web.nv.internal", "A", "10.128.4.3"),
        # A name that is there has no other types; one that is not has none at all.
        (WEB.address, "db.ann.nv.internal", "AAAA", "NOERROR"),
        (WEB.address, "db.nv.internal", "TXT", "NOERROR"),
        (WEB.address, "ann.nv.internal", "A", "NOERROR"),
        (WEB.address, "no.ann.nv.internal", "A", "NXDOMAIN"),
        (WEB.address, "no.ann.nv.internal", "AAAA", "NXDOMAIN"),
        (WEB.address, "x.db.ann.nv.internal", "A", "NXDOMAIN"),
        # Other owners' sessions are not revealed, not even whether there are any.
        (WEB.address, "web.bob.nv.internal", "A", "NXDOMAIN"),
        (WEB.address, "bob.nv.internal", "A", "NXDOMAIN"),
        (OTHER.address, "db.nv.internal", "A", "NXDOMAIN"),
        (WEB.address, "3.4.128.10.in-addr.arpa", "PTR", "NXDOMAIN"),
        # The machine itself gets every answer, and has no owner.
        (BRIDGE, "web.bob.nv.internal", "A", "10.128.4.3"),
        (BRIDGE, "bob.nv.internal", "A", "NOERROR"),
        (BRIDGE, "web.nv.internal", "A", "NXDOMAIN"),
        (BRIDGE, "3.4.128.10.in-addr.arpa", "PTR", "web.bob.nv.internal."),
        # A stranger in the subnet is to ask again.
        ("10.128.4.99", "web.ann.nv.internal", "A", "REFUSED"),
        ("10.128.4.99", "nv.internal", "SOA", "REFUSED"),
        ("10.128.4.99", "example.org", "A", "not ours"),
        # The zone's own records.
        (WEB.address, "nv.internal", "NS", "nv.internal."),
        (WEB.address, "nv.internal", "A", BRIDGE),
        (WEB.address, "nv.internal", "SOA", "nv.internal. hostmaster.nv.internal. 42 60 60 3600 5"),
        (WEB.address, "nv.internal", "AAAA", "NOERROR"),
        # Addresses of the pool, and only those.
        (WEB.address, "7.8.128.10.in-addr.arpa", "PTR", "db.ann.nv.internal."),
        (WEB.address, "7.8.128.10.in-addr.arpa", "A", "NOERROR"),
        (WEB.address, "8.8.128.10.in-addr.arpa", "PTR", "NXDOMAIN"),
        (WEB.address, "8.128.10.in-addr.arpa", "PTR", "NOERROR"),
        (WEB.address, "128.10.in-addr.arpa", "NS", "nv.internal."),
        (WEB.address, "007.8.128.10.in-addr.arpa", "PTR", "NXDOMAIN"),
        (WEB.address, "x.8.128.10.in-addr.arpa", "PTR", "NXDOMAIN"),
        (WEB.address, "1.7.8.128.10.in-addr.arpa", "PTR", "NXDOMAIN"),
        (WEB.address, "10.in-addr.arpa", "SOA", "not ours"),
        (WEB.address, "1.0.64.10.in-addr.arpa", "PTR", "not ours"),
        (WEB.address, "1.2.0.192.in-addr.arpa", "PTR", "not ours"),
        (WEB.address, "in-addr.arpa", "NS", "not ours"),
        # The rest of the world.
        (WEB.address, "example.org", "A", "not ours"),
        (WEB.address, "internal", "NS", "not ours"),
        (WEB.address, "xnv.internal", "A", "not ours"),
        (WEB.address, "web", "A", "not ours"),
    ],
)
def test_answers(asker: str, name: str, kind: str, answer: str) -> None:
    assert ask(asker, name, kind) == answer


def test_the_zone_of_an_address_follows_from_the_pool() -> None:
    def zone(pool: str, name: str) -> str:
        answer = names(pool).answer(WEB.address, tuple(name.split(".")), "PTR")
        return ".".join(answer.authority[0].name) if answer else "not ours"

    assert zone("10.0.0.0/8", "9.9.9.10.in-addr.arpa") == "10.in-addr.arpa"
    assert zone("10.128.0.0/10", "9.9.128.10.in-addr.arpa") == "128.10.in-addr.arpa"
    assert zone("10.128.4.0/22", "9.7.128.10.in-addr.arpa") == "7.128.10.in-addr.arpa"
    assert zone("10.128.4.0/22", "9.8.128.10.in-addr.arpa") == "not ours"


def test_a_name_that_moved_is_not_lost_with_its_old_session() -> None:
    directory, netmap = Directory(), Netmap()
    old, new = WEB, replace(DB, name="web", address=WEB.address)

    def follow(*endpoints: Endpoint, gone: tuple[str, ...] = ()) -> None:
        nonlocal netmap
        netmap = netmap.updated(NetmapUpdate(1, endpoints=endpoints, gone_endpoints=gone))
        directory.follow(netmap)

    follow(old)
    follow(new)
    follow(gone=(old.session,))
    assert directory.named("ann", "web") is directory.at(WEB.address) is new
    follow(gone=(new.session,))
    assert directory.named("ann", "web") is directory.at(WEB.address) is None
    assert not directory.knows("ann")


_labels = st.lists(
    st.sampled_from(["web", "db", "ann", "bob", "nv", "internal", "10", "128", "4", "3", "x"]), max_size=6
)
_suffixes = st.sampled_from(
    [ZONE, ("in-addr", "arpa"), ("10", "in-addr", "arpa"), ("128", "10", "in-addr", "arpa"), ()]
)


@given(labels=_labels, suffix=_suffixes, kind=st.sampled_from(TYPES))
def test_users_learn_nothing_of_others(labels: list[str], suffix: tuple[str, ...], kind: str) -> None:
    """The answer that one of ann's sessions gets is the same whether bob has sessions or not."""
    name = (*labels, *suffix)
    alone = names(endpoints={WEB.session: WEB, DB.session: DB})
    assert names().answer(WEB.address, name, kind) == alone.answer(WEB.address, name, kind)


@given(name=st.lists(st.text(max_size=63), max_size=12), suffix=_suffixes, kind=st.sampled_from(TYPES))
def test_any_name_has_an_answer_or_is_foreign(name: list[str], suffix: tuple[str, ...], kind: str) -> None:
    answer = names().answer(WEB.address, (*name, *suffix), kind)
    assert answer is None or isinstance(answer, Answer)
    if answer and answer.outcome is Outcome.UNKNOWN:
        assert not answer.records


_endpoint = st.builds(
    Endpoint,
    session=st.sampled_from("abcdef"),
    name=st.sampled_from(["web", "db"]),
    owner=st.sampled_from(["ann", "bob"]),
    address=st.sampled_from([f"10.128.0.{last}" for last in range(2, 8)]),
)


@given(st.lists(st.tuples(st.lists(_endpoint, max_size=4), st.lists(st.sampled_from("abcdef"), max_size=3))))
def test_whatever_came_before_a_session_is_found_by_what_it_alone_has(
    changes: list[tuple[list[Endpoint], list[str]]],
) -> None:
    netmap, directory = Netmap(), Directory()
    for generation, (new, gone) in enumerate(changes):
        netmap = netmap.updated(NetmapUpdate(generation, endpoints=tuple(new), gone_endpoints=tuple(gone)))
        directory.follow(netmap)
        ends = list(netmap.endpoints.values())
        for owner in ("ann", "bob"):
            assert directory.knows(owner) == any(end.owner == owner for end in ends)
            for name in ("web", "db"):
                having = [end for end in ends if (end.owner, end.name) == (owner, name)]
                found = directory.named(owner, name)
                assert found in having if having else found is None
        for address in {end.address for end in new} | {end.address for end in ends}:
            there = [end for end in ends if end.address == address]
            assert directory.at(address) in there if there else directory.at(address) is None
