"""What `nft -j list table` says of a table (libnftables-json(5)), to be compared with what was loaded."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from netvps.domain.overlay.nft import Found, Table, mark

Content = dict[str, object]
"""Of each chain the marks of its rules, in order; of each set its elements, or how many they are of prefixes."""


def wanted(table: Table) -> Content:
    """Of a table as it shall be."""
    content: Content = {f"chain {name}": [mark(rule) for rule in chain.rules] for name, chain in table.chains.items()}
    for name, kept in table.sets.items():
        elements = {element.replace('"', "") for element in kept.elements}
        content[f"set {name}"] = len(elements) if kept.interval else elements
    return content


def listed(text: str) -> Content:
    """Of a table as it is."""
    chains: defaultdict[str, list[str]] = defaultdict(list)
    sets: Content = {}
    for item in json.loads(text)["nftables"]:
        for kind, value in item.items():
            if kind == "chain":
                chains[f"chain {value['name']}"]  # it may have no rules
            elif kind == "rule":
                chains[f"chain {value['chain']}"].append(value.get("comment", ""))
            elif kind in {"set", "map"}:
                elements = value.get("elem", ())
                interval = "interval" in value.get("flags", ())
                sets[f"set {value['name']}"] = len(elements) if interval else set(map(_element, elements))
    return {**chains, **sets}


def found(text: str) -> Found:
    """What a table has, by name alone."""
    items = [pair for item in json.loads(text)["nftables"] for pair in item.items()]
    sets = {value["name"]: kind for kind, value in items if kind in {"set", "map"}}
    return Found(sets, frozenset(value["name"] for kind, value in items if kind == "chain"))


def _element(said: Any) -> str:
    """As nft reads it."""
    match said:
        case [key, verdict]:
            return f"{_element(key)} : {_element(verdict)}"
        case {"concat": parts}:
            return " . ".join(map(_element, parts))
        case {"jump": {"target": chain}}:
            return f"jump {chain}"
        case {"goto": {"target": chain}}:
            return f"goto {chain}"
    return str(said)
