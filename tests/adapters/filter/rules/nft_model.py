"""A small nftables: executes the commands that rulesets are made of, and judges packets by the rules that come of it.

It knows just what our rules use, and fails at anything else. What nft and the kernel make of the same text is tested
in tests/adapters/test_nftables.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from netvps.adapters.filter.rules.nft import Chain, Ruleset, Set, Table, mark

Packet = dict[str, str]
"""Values by selector, as rules have them: {"iifname": "nv0", "ip saddr": …}; what is absent never matches."""

_SELECTOR = (
    r"(?:iifname|oifname|(?:ether|ip|ip6) [sd]addr|ether type|arp [sd]addr (?:ip|ether)|(?:udp|tcp) dport|icmp type"
    r"|tcp flags|ct state|ct status|meta mark)(?: & 255[0-9.]+)?"
)
_MATCH = re.compile(
    rf"(?P<keys>{_SELECTOR}(?: \. {_SELECTOR})*) (?P<not>!= )?"
    r"(?:vmap @(?P<vmap>\S+)|@(?P<set>\S+)|\{ (?P<many>[^}]*) \}|& (?P<mask>\S+|\([^)]*\)) == (?P<masked>\S+)"
    r"|(?P<one>(?!set )\S+))(?: |$)"
)
_MARK = re.compile(r"meta mark set (?P<value>\S+)(?: |$)")
_STATEMENTS = ("", "tcp option maxseg size set rt mtu", "masquerade", "notrack")


@dataclass
class Kernel:
    """Tables by family and name."""

    tables: dict[str, Table] = field(default_factory=dict)

    def feed(self, text: str) -> None:
        """What `nft -f -` does with it; raises AssertionError where nft refuses."""
        for line in text.splitlines():
            verb, kind, family, name, *rest = line.split(maxsplit=5)
            getattr(self, f"_{verb}_{kind}")(f"{family} {name}", *rest)

    @property
    def ruleset(self) -> Ruleset:
        return Ruleset(self.tables)

    def _add_table(self, table: str) -> None:
        self.tables.setdefault(table, Table({}, {}))

    def _delete_table(self, table: str) -> None:
        del self.tables[table]

    def _flush_table(self, table: str) -> None:
        for name in self._chains(table):
            self._flush_chain(table, name)

    def _flush_set(self, table: str, name: str) -> None:
        kept = self._sets(table)[name]
        self._sets(table)[name] = replace(kept, elements=frozenset())

    _flush_map = _flush_set

    def _add_set(self, table: str, name: str, declared: str) -> None:
        match = re.fullmatch(r"\{ type (.+?);( flags interval;)? \}", declared)
        assert match, declared
        made = Set(match[1], frozenset(), interval=bool(match[2]))
        assert self._sets(table).setdefault(name, made).declaration == made.declaration

    _add_map = _add_set

    def _delete_set(self, table: str, name: str) -> None:
        assert not any(f"@{name} " in f"{rule} " for rule in self._all_rules(table)), f"set {name} is used"
        del self._sets(table)[name]

    _delete_map = _delete_set

    def _add_chain(self, table: str, name: str, declared: str = "") -> None:
        made = Chain((), declared.removeprefix("{ ").removesuffix("; policy accept; }"))
        assert self._chains(table).setdefault(name, made).hook == made.hook

    def _delete_chain(self, table: str, name: str) -> None:
        verdicts = [element for kept in self._sets(table).values() for element in kept.elements]
        assert not any(text.endswith((f"goto {name}", f"jump {name}")) for text in [*self._all_rules(table), *verdicts])
        assert not self._chains(table).pop(name).rules

    def _flush_chain(self, table: str, name: str) -> None:
        self._chains(table)[name] = Chain((), self._chains(table)[name].hook)

    def _add_rule(self, table: str, name: str, rule: str) -> None:
        chain = self._chains(table)[name]
        rule, _, comment = rule.partition(" comment ")
        assert comment == f'"{mark(rule)}"'
        assert set(re.findall(r"@(?!th,)(\S+)", rule)) <= self._sets(table).keys(), rule
        assert set(re.findall(r"(?:goto|jump) (\S+)", rule)) <= self._chains(table).keys(), rule
        self._chains(table)[name] = Chain((*chain.rules, rule), chain.hook)

    def _add_element(self, table: str, name: str, text: str) -> None:
        kept, new = self._sets(table)[name], _elements(text)
        assert set(re.findall(r"(?:goto|jump) ([^, ]+)", text)) <= self._chains(table).keys()
        elements = kept.elements | new
        assert len({element.partition(" : ")[0] for element in elements}) == len(elements), "a key twice"
        self._sets(table)[name] = Set(kept.type, elements, kept.interval)

    def _delete_element(self, table: str, name: str, text: str) -> None:
        kept, gone = self._sets(table)[name], _elements(text)
        assert gone <= kept.elements
        self._sets(table)[name] = Set(kept.type, kept.elements - gone, kept.interval)

    def _sets(self, table: str) -> dict[str, Set]:
        sets = self.tables[table].sets
        assert isinstance(sets, dict)
        return sets

    def _chains(self, table: str) -> dict[str, Chain]:
        chains = self.tables[table].chains
        assert isinstance(chains, dict)
        return chains

    def _all_rules(self, table: str) -> list[str]:
        return [rule for chain in self._chains(table).values() for rule in chain.rules]


def _elements(text: str) -> frozenset[str]:
    return frozenset(text.removeprefix("{ ").removesuffix(" }").split(", "))


def passes(table: Table, chain: str, packet: Packet) -> bool:
    """Whether a base chain lets the packet pass."""
    return _verdict(table, chain, dict(packet)) != "drop"


def _verdict(table: Table, chain: str, packet: Packet) -> str:
    """ "accept", "drop", or "" at the end of the chain. A mark is put on the packet itself."""
    for rule in table.chains[chain].rules:
        verdict = _apply(table, rule, packet)
        word, _, target = verdict.partition(" ")
        if word in {"goto", "jump"}:
            verdict = _verdict(table, target, packet)
        if verdict or word == "goto":
            return verdict
    return ""


def _apply(table: Table, rule: str, packet: Packet) -> str:
    while match := _MATCH.match(rule) or _MARK.match(rule):
        rule = rule[match.end() :]
        if match.re is _MARK:
            packet["meta mark"] = packet.get(match["value"], match["value"])
            continue
        values = [_value(packet, key) for key in match["keys"].split(" . ")]
        if None in values:
            return ""
        found = [value for value in values if value is not None]
        if match["vmap"]:
            entries = (element.split(" : ") for element in table.sets[match["vmap"]].elements)
            return next((verdict for key, verdict in entries if _equal(key, found)), "")
        if _holds(table, match, found) == bool(match["not"]):
            return ""
    if rule in _STATEMENTS:
        return ""
    assert re.fullmatch(r"accept|drop|(?:goto|jump) \S+", rule), f"unknown: {rule}"
    return rule


def _value(packet: Packet, key: str) -> str | None:
    key, _, mask = key.partition(" & ")
    value = packet.get(key)
    return str(ip_network(f"{value}/{mask}", strict=False)[0]) if value and mask else value


def _holds(table: Table, match: re.Match[str], found: list[str]) -> bool:
    if match["set"]:
        return any(_equal(element, found) for element in table.sets[match["set"]].elements)
    if match["mask"]:
        if match["keys"] == "tcp flags":
            return match["masked"] in found
        mask, masked, value = (int(text.replace(":", ""), 16) for text in (match["mask"], match["masked"], found[0]))
        return value & mask == masked
    choices = match["many"].split(", ") if match["many"] else match["one"].split(",")
    return any(_equal(choice, found) for choice in choices)


def _equal(element: str, found: list[str]) -> bool:
    parts = element.split(" . ")
    return len(parts) == len(found) and all(map(_matches, parts, found))


def _matches(part: str, value: str) -> bool:
    if "/" in part:
        return ip_address(value) in ip_network(part)
    return part.strip('"') == value
