"""A vault whose seal is a text written backwards, beside what it is about."""

from __future__ import annotations

from netvps.errors import DataLoss


class FakeVault:
    def seal(self, text: str, about: str) -> str:
        return f"{about}|{text[::-1]}"

    def open(self, sealed: str, about: str) -> str:
        found, _, text = sealed.partition("|")
        if found != about:
            raise DataLoss("it is about something else")
        return text[::-1]
