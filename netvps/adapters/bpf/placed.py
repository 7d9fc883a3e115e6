"""Holds the fast path's maps, programs and attachments in the kernel of this network namespace."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from netvps.adapters.bpf.classifiers import attach, attached, detach
from netvps.adapters.bpf.programs import arriving, leaving
from netvps.adapters.bpf.syscall import Program
from netvps.adapters.bpf.tables import Tables
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.kernel.fast_path import FastPathConstants, fast_path
from netvps.domain.overlay.kernel.links import ObjectNames
from netvps.domain.overlay.view import View

_LEAVING: Final = "leaving"
_ARRIVING: Final = "arriving"


def indexes() -> dict[str, int]:
    """Maps names of all interfaces of this namespace to indexes, which are never reused; empty if that fails."""
    try:
        return {name: index for index, name in socket.if_nameindex()}
    except OSError:
        return {}


class Placed:
    """The fast path in the kernel. Blocks. Raises OSError for maps and programs, a NetvpsError for attachments.

    Programs stay attached after this process ends. A new process cannot adopt their maps: its first `load` creates
    its own and replaces the programs interface by interface, so that packets are never without one.
    """

    def __init__(self, names: ObjectNames) -> None:
        self._device = names.device
        self._prefix = f"{names.table}/"
        self._tables: Tables | None = None
        self._programs: dict[str, Program] = {}
        self._terms: FastPathConstants | None = None
        """What the loaded programs were assembled for."""
        self._at: dict[int, int] = {}
        """Attached programs: interface index to program id."""
        self._bare = False
        """Known to have nothing attached."""

    def load(self, view: View, ports: Mapping[str, str], change: Change | None) -> None:
        """Applies `view` to the interfaces that exist. `change`: the difference to the last view, if known."""
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
        if first:  # left by an earlier process at interfaces that no longer need one
            detach({each.link for each in attached(self._prefix)} - self._at.keys())

    def check_attached(self) -> None:
        """Reads which attachments still exist; the next `load` restores missing ones."""
        if not self._bare:
            there = {each.link: each.program for each in attached(self._prefix)}
            self._at = {link: program for link, program in self._at.items() if there.get(link) == program}

    def remove(self) -> None:
        """Removes all attachments, also those of an earlier process."""
        if not self._bare:
            detach({each.link for each in attached(self._prefix)})
        self._replace({})
        if self._tables:
            self._tables.close()
        self._tables = self._terms = None
        self._at = {}
        self._bare = True

    def _compile(self, terms: FastPathConstants, tables: Tables) -> None:
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


def _filled(tables: Tables, view: View, change: Change | None) -> FastPathConstants:
    if change is None:
        whole = fast_path(view)
        tables.be(whole)
        return whole.terms
    new = fast_path(change.new)
    tables.change(fast_path(change.old), new)
    return new.terms
