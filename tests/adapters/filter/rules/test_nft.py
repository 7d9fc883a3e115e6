from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.filter.rules.nft import Chain, Edit, Elements, Found, Ruleset, Set, Table
from tests.adapters.filter.rules.nft_model import Kernel

OWNERS = st.dictionaries(st.sampled_from(["10.128.0.2", "10.128.0.3", "10.128.0.4"]), st.sampled_from("abc"))


def _ruleset(owners: dict[str, str], rule: str = "drop") -> Ruleset:
    """Sessions and who owns them, in the shape of the real thing."""
    names = set(owners.values())
    return Ruleset(
        {
            "inet t": Table(
                {"owners": Set("ipv4_addr : verdict", frozenset(f"{ip} : jump {name}" for ip, name in owners.items()))}
                | {name: Set("ipv4_addr", frozenset(ip for ip in owners if owners[ip] == name)) for name in names},
                {"forward": Chain(("ip saddr vmap @owners", rule), "type filter hook forward priority 0")}
                | {name: Chain((f"ip daddr @{name} accept",)) for name in names},
            )
        }
    )


def test_a_ruleset_is_one_transaction_that_replaces_existing_rules() -> None:
    text = re.sub(r' comment "[0-9a-f]{8}"\n', "\n", _ruleset({"10.128.0.2": "ann"}).text)
    assert text == (
        "add table inet t\n"
        "delete table inet t\n"
        "add table inet t\n"
        "add map inet t owners { type ipv4_addr : verdict; }\n"
        "add set inet t ann { type ipv4_addr; }\n"
        "add chain inet t forward { type filter hook forward priority 0; policy accept; }\n"
        "add chain inet t ann\n"
        "add rule inet t forward ip saddr vmap @owners\n"
        "add rule inet t forward drop\n"
        "add rule inet t ann ip daddr @ann accept\n"
        "add element inet t owners { 10.128.0.2 : jump ann }\n"
        "add element inet t ann { 10.128.0.2 }\n"
    )


def test_a_change_is_a_few_elements() -> None:
    old, new = _ruleset({"10.128.0.2": "a"}), _ruleset({"10.128.0.2": "a", "10.128.0.3": "a"})
    edit = new.changes_from(old)
    assert edit.text == ("add element inet t owners { 10.128.0.3 : jump a }\nadd element inet t a { 10.128.0.3 }\n")
    sets = new.tables["inet t"].sets
    owners = Elements("inet t", "owners", sets["owners"], come=frozenset({"10.128.0.3 : jump a"}))
    assert edit.elements == (owners, Elements("inet t", "a", sets["a"], come=frozenset({"10.128.0.3"})))
    assert new.changes_from(new) == Edit()
    assert edit + Edit() == edit


def test_what_is_more_than_elements_is_for_nft() -> None:
    one, other = _ruleset({"10.128.0.2": "a"}), _ruleset({"10.128.0.2": "a", "10.128.0.3": "b"})
    for new, old in ((one, other), (other, one), (_ruleset({"10.128.0.2": "a"}, "accept"), one)):
        edit = new.changes_from(old)
        assert edit.elements is None
        assert (Edit("x", ()) + edit) == Edit(f"x{edit.text}", None)


@given(OWNERS, OWNERS, st.sampled_from(["drop", "accept"]))
def test_changes_lead_from_any_ruleset_to_any_other(old: dict[str, str], new: dict[str, str], rule: str) -> None:
    kernel = Kernel()
    kernel.feed(_ruleset(old).text)
    assert kernel.ruleset == _ruleset(old)
    kernel.feed(_ruleset(new, rule).changes_from(_ruleset(old)).text)
    assert kernel.ruleset == _ruleset(new, rule)
    kernel.feed(_ruleset(old).text)
    assert kernel.ruleset == _ruleset(old)


@given(OWNERS, OWNERS)
def test_it_can_be_put_over_existing_rules(old: dict[str, str], new: dict[str, str]) -> None:
    """Sets that are needed are never removed on the way, and what is right already may keep its elements."""
    kernel = Kernel()
    for emptied in (False, True):
        kernel.feed(_ruleset(old).over({}, emptied=emptied))
        assert kernel.ruleset == _ruleset(old)
        kernel.feed(_ruleset(old, "accept").over(_found(kernel), emptied=emptied))
        assert kernel.ruleset == _ruleset(old, "accept")
        text = _ruleset(new).over(_found(kernel), emptied=True)
        assert not [name for name in {"owners", *new.values()} if f"delete set inet t {name}\n" in text]
        kernel.feed(text)
        assert kernel.ruleset == _ruleset(new)
        kernel = Kernel()


@given(OWNERS, OWNERS)
def test_it_can_be_added_to_existing_rules(old: dict[str, str], new: dict[str, str]) -> None:
    """All existing elements stay, except foreign rules."""
    kernel = Kernel()
    kernel.feed(_ruleset(old, "accept").text)
    known = {address: owner for address, owner in new.items() if old.get(address, owner) == owner}
    kernel.feed(_ruleset(known).onto(_found(kernel)))
    assert kernel.ruleset == _ruleset(old | known)
    kernel = Kernel()
    kernel.feed(_ruleset(new).onto({}))
    assert kernel.ruleset == _ruleset(new)


def _found(kernel: Kernel) -> dict[str, Found]:
    return {
        name: Found({set_: kept.kind for set_, kept in table.sets.items()}, frozenset(table.chains))
        for name, table in kernel.tables.items()
    }


def test_what_cannot_be_changed_is_replaced() -> None:
    old = Ruleset({"inet t": Table({"s": Set("ipv4_addr")}, {"c": Chain((), "type filter hook input priority 0")})})
    typed = Ruleset({"inet t": Table({"s": Set("ipv4_addr", interval=True)}, old.tables["inet t"].chains)})
    hooked = Ruleset(
        {"inet t": Table(old.tables["inet t"].sets, {"c": Chain((), "type filter hook input priority 1")})}
    )
    for new in (typed, hooked):
        assert new.changes_from(old) == Edit(new.text, None)
