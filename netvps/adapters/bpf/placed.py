"""The fast path in the kernel of the namespace we are in: its tables, its programs, and at which links they are."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from netvps.adapters.bpf.classifiers import attach, attached, detach
from netvps.adapters.bpf.programs import arriving, leaving
from netvps.adapters.bpf.syscall import Program
from netvps.adapters.bpf.tables import Tables
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.fast_path import Terms, fast_path
from netvps.domain.overlay.links import ObjectNames
from netvps.domain.overlay.view import View

_LEAVING: Final = "leaving"
_ARRIVING: Final = "arriving"


def indexes() -> dict[str, int]:
    """Of all links in our namespace, by name: no later link has the same; none if the kernel does not tell."""
    try:
        return {name: index for index, name in socket.if_nameindex()}
    except OSError:
        return {}


class Placed:
    """All of it, blocking. Methods raise OSError for maps and programs, and a NetvpsError for what is at links.

    What is in the kernel stays there after our end, but no other process goes on with it: its first `load` makes its
    own, and puts that in place link by link.
    """

    def __init__(self, names: ObjectNames) -> None:
        self._device = names.device
        self._prefix = f"{names.table}/"
        self._tables: Tables | None = None
        self._programs: dict[str, Program] = {}
        self._terms: Terms | None = None
        """Of these programs."""
        self._at: dict[int, int] = {}
        """Which program, by its id, is at which link, by its index."""
        self._bare = False
        """Whether it is known that there is nothing."""

    def load(self, view: View, ports: Mapping[str, str], change: Change | None) -> None:
        """Has what follows from this view, at the links that are there; with a change, if that is since the last."""
        links = indexes()
        if (device := links.get(self._device)) is None:
            self.remove()
            return
        self._bare = False
        if first := self._tables is None:
            self._tables, change = Tables(), None
        terms = _filled(self._tables, view, change)
        sessions = {address: links[port] for address, port in ports.items() if port in links}
        self._tables.lead(device, sessions)
        if terms != self._terms:
            self._compile(terms, self._tables)
        self._place({**dict.fromkeys(sessions.values(), _LEAVING), device: _ARRIVING})
        if first:  # what an earlier process left at links that are nobody's now
            detach({each.link for each in attached(self._prefix)} - self._at.keys())

    def look(self) -> None:
        """Sees what is there still: the next `load` does the rest."""
        if not self._bare:
            there = {each.link: each.program for each in attached(self._prefix)}
            self._at = {link: program for link, program in self._at.items() if there.get(link) == program}

    def remove(self) -> None:
        """Removes all of it, whoever left it."""
        if not self._bare:
            detach({each.link for each in attached(self._prefix)})
        self._replace({})
        if self._tables:
            self._tables.close()
        self._tables = self._terms = None
        self._at = {}
        self._bare = True

    def _compile(self, terms: Terms, tables: Tables) -> None:
        of_sessions = Program(leaving(terms, tables.maps), f"netvps_{_LEAVING}")
        try:
            of_device = Program(arriving(terms, tables.maps), f"netvps_{_ARRIVING}")
        except OSError:
            of_sessions.close()
            raise
        self._replace({_LEAVING: of_sessions, _ARRIVING: of_device})
        self._terms = terms

    def _replace(self, programs: dict[str, Program]) -> None:
        for program in self._programs.values():
            program.close()
        self._programs = programs

    def _place(self, wanted: Mapping[int, str]) -> None:
        gone = self._at.keys() - wanted.keys()
        if gone:
            detach(gone)
        self._at = {link: program for link, program in self._at.items() if link in wanted}
        new = {link: name for link, name in wanted.items() if self._at.get(link) != self._programs[name].id}
        put = attach({link: (self._prefix + name, self._programs[name]) for link, name in new.items()})
        self._at |= {link: self._programs[new[link]].id for link in put}


def _filled(tables: Tables, view: View, change: Change | None) -> Terms:
    if change is None:
        whole = fast_path(view)
        tables.be(whole)
        return whole.terms
    new = fast_path(change.new)
    tables.change(fast_path(change.old), new)
    return new.terms
