"""What the fast path is on a host, asked of its kernel, and where that is not as planned."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from netvps.adapters.bpf.classifiers import attached
from netvps.adapters.bpf.placed import indexes
from netvps.domain.overlay.kernel.fast_path import fast_path
from netvps.domain.overlay.view import View
from tests.adapters.bpf.kernel import maps_of

Maps = Mapping[str, Mapping[bytes, bytes]]


def wrong_at_links(view: View, ports: Mapping[str, str]) -> list[str]:
    """In the namespace that the thread is in; `ports` are the links of sessions by address."""
    links = indexes()
    bound = {address: links[link] for address, link in ports.items() if link in links}
    programs = {each.link: each for each in attached("netvps/")}
    names = {link: each.name for link, each in programs.items()}
    wanted = {**dict.fromkeys(bound.values(), "netvps/leaving"), links["nv0"]: "netvps/arriving"}
    if names != wanted:
        return [f"programs at links: {names}, not {wanted}"]
    led = {"0.0.0.0": links["nv0"], **bound}
    return [said for each in programs.values() for said in _wrong(view, led, maps_of(each.program))]


def _wrong(view: View, links: Mapping[str, int], maps: Maps) -> list[str]:
    path = fast_path(view)
    marks = {owner: maps["netvps_owners"].get(_key(address), b"") for address, owner in path.owners.items()}
    wanted = {
        "links": {_key(address): link.to_bytes(4, "little") for address, link in links.items()},
        "subnets": {
            _key(first): _bytes(subnet.mac) + bytes([subnet.open, 0]) for first, subnet in path.subnets.items()
        },
        "owners": {_key(address): marks[owner] for address, owner in path.owners.items()},
    }
    found = [f"owners that look alike: {marks}"] if len({*marks.values()}) < len(marks) else []
    for name, entries in wanted.items():
        there = maps[f"netvps_{name}"]
        if missing := entries.items() - there.items():
            found.append(f"missing of {name}: {missing}")
        if over := there.items() - entries.items():
            found.append(f"too much of {name}: {over}")
    return found


def _key(address: str) -> bytes:
    return socket.inet_aton(address)


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
