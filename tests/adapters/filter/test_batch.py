"""Transactions in a namespace of their own: made as a whole, and only on what was there."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from netvps.adapters.filter import batch
from netvps.adapters.filter.batch import Batch
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.rules.nft import Elements, Set
from netvps.adapters.netlink.wire import NLMSG_NOOP, message
from tests.support.namespaces import Namespace, namespace

pytestmark = pytest.mark.netns
ADDRESSES, OWNERS = Set("ipv4_addr"), Set("ipv4_addr : verdict")
MADE = """table inet t {
    set addresses { type ipv4_addr; elements = { 10.0.0.1 }; }
    map owners { type ipv4_addr : verdict; }
    chain ann { accept; }
}"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as made, made.inside():
        made.run("nft", "-f", "-", stdin=MADE)
        yield made


@pytest.fixture
def opened() -> Iterator[Batch]:
    made = Batch()
    yield made
    made.close()


def _now() -> int:
    found = generation()
    assert found is not None
    return found


def _come(*elements: str) -> Elements:
    return Elements("inet t", "addresses", ADDRESSES, come=frozenset(elements))


def test_what_others_changed_meanwhile_is_not_built_on(host: Namespace, opened: Batch) -> None:
    now = _now()
    host.run("nft", "add table inet others")
    before = host.run("nft", "list", "ruleset")
    refused = opened.change([_come("10.0.0.2")], now)
    assert refused
    assert refused.errno == errno.ERESTART
    assert host.run("nft", "list", "ruleset") == before
    assert opened.change([_come("10.0.0.2")], now + 1) is None
    assert "10.0.0.2" in host.run("nft", "list", "ruleset")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Elements("inet t", "addresses", ADDRESSES, gone=frozenset({"10.0.0.9"})), errno.ENOENT),
        (Elements("inet t", "strange", ADDRESSES, come=frozenset({"10.0.0.9"})), errno.ENOENT),
        (Elements("inet strange", "addresses", ADDRESSES, come=frozenset({"10.0.0.9"})), errno.ENOENT),
        (Elements("inet t", "owners", OWNERS, come=frozenset({"10.0.0.9 : jump bob"})), errno.ENOENT),
        (Elements("inet t", "owners", Set("ifname"), come=frozenset({'"eth0"'})), errno.EINVAL),
        (Elements("inet t", "owners", Set("inet_service"), come=frozenset({"22"})), errno.EOPNOTSUPP),
    ],
    ids=["no element", "no set", "no table", "no chain", "another type", "not known"],
)
@pytest.mark.parametrize("last", [False, True])
def test_all_of_it_is_made_or_nothing(host: Namespace, opened: Batch, wrong: Elements, why: int, *, last: bool) -> None:
    before, now = host.run("nft", "list", "ruleset"), _now()
    right = _come("10.0.0.2", "10.0.0.3")
    refused = opened.change([right, wrong] if last else [wrong, right], now)
    assert refused
    assert refused.errno == why
    assert (host.run("nft", "list", "ruleset"), _now()) == (before, now)


def test_hundreds_go_at_once_and_more_than_fits_does_not(host: Namespace, opened: Batch) -> None:
    many = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1 << 16, (1 << 16) + 20_000)]
    assert opened.change([_come(*many[:3000])], _now()) is None
    assert host.run("nft", "list", "ruleset").count("10.1.") == 3000
    refused = opened.change([_come(*many)], _now())
    assert refused
    assert refused.errno == errno.EMSGSIZE


def test_a_kernel_that_does_not_answer_is_not_waited_for(
    host: Namespace, opened: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_SECONDS", 0.05)
        patch.setattr(batch, "_packet", lambda *_: bytearray(message(NLMSG_NOOP, 0, b"")))
        refused = opened.change([_come("10.0.0.2")], _now())
        assert refused
        assert refused.errno == errno.ETIMEDOUT
    assert opened.change([_come("10.0.0.2")], _now()) is None
    assert "10.0.0.2" in host.run("nft", "list", "ruleset")


@pytest.mark.usefixtures("host")
def test_an_answer_to_what_was_before_is_none(opened: Batch) -> None:
    """A refused transaction may have more errors than are waited for."""
    gone = Elements("inet t", "addresses", ADDRESSES, gone=frozenset({"10.0.0.9"}))
    for _ in range(3):
        assert opened.change([gone, gone, gone, _come("10.0.0.2")], _now())
        assert opened.change([_come("10.0.0.3")], _now()) is None


def test_where_there_is_no_such_netlink_it_is_refused(opened: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_NETLINK_NETFILTER", 4096)
    refused = opened.change([_come("10.0.0.2")], 1)
    assert refused
    assert refused.errno == errno.EPROTONOSUPPORT
