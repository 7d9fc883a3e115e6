"""Parses `nft -j list table` (libnftables-json(5)), for comparison with what was loaded."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from netvps.adapters.filter.rules.nft import Found, Table, mark

Content = dict[str, object]
"""Per chain the comments of its rules, in order; per set its elements, or their count if it has intervals."""


def wanted(table: Table) -> Content:
    """Builds the expected content of a table."""
    content: Content = {f"chain {name}": [mark(rule) for rule in chain.rules] for name, chain in table.chains.items()}
    for name, kept in table.sets.items():
        elements = {element.replace('"', "") for element in kept.elements}
        content[f"set {name}"] = len(elements) if kept.interval else elements
    return content


def listed(text: str) -> Content:
    """Parses the content of a table."""
    chains: defaultdict[str, list[str]] = defaultdict(list)
    sets: Content = {}
    for item in json.loads(text)["nftables"]:
        for kind, value in item.items():
            if kind == "chain":
                chains[f"chain {value['name']}"]  # keeps a chain without rules
            elif kind == "rule":
                chains[f"chain {value['chain']}"].append(value.get("comment", ""))
            elif kind in {"set", "map"}:
                elements = value.get("elem", ())
                interval = "interval" in value.get("flags", ())
                sets[f"set {value['name']}"] = len(elements) if interval else set(map(_element, elements))
    return {**chains, **sets}


def found(text: str) -> Found:
    """Parses the names of a table's sets and chains."""
    items = [pair for item in json.loads(text)["nftables"] for pair in item.items()]
    sets = {value["name"]: kind for kind, value in items if kind in {"set", "map"}}
    return Found(sets, frozenset(value["name"] for kind, value in items if kind == "chain"))


def _element(parsed: Any) -> str:
    """Formats an element as nft's input."""
    match parsed:
        case [key, verdict]:
            return f"{_element(key)} : {_element(verdict)}"
        case {"concat": parts}:
            return " . ".join(map(_element, parts))
        case {"jump": {"target": chain}}:
            return f"jump {chain}"
        case {"goto": {"target": chain}}:
            return f"goto {chain}"
    return str(parsed)
