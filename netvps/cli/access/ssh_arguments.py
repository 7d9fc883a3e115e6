"""Parses the words after `netvps ssh` by OpenSSH's own grammar: options, the session, the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.sharing.kept_terminal import KeptTerminal
from netvps.cli.ui.parse import DURATION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# ssh(1), "SYNOPSIS".
_FLAGS: Final = frozenset("46AaCfGgKkMNnqsTtVvXxYy")
_WITH_VALUE: Final = frozenset("BbcDEeFIiJLmOoPQRSWw")
_OURS: Final = {"p": "the port comes from the server"}


@dataclass(frozen=True, slots=True)
class SshArguments:
    """What to pass to ssh: `options` go before the host, `command` after it; `unix_user` '' means root."""

    session: str
    unix_user: str = ""
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    timeout: float | None = None
    """Seconds to wait for a start; None: as it was before NAME, or the default."""
    watch: bool = False
    """Whether to read along on a terminal that is kept."""

    @property
    def login(self) -> str:
        """The user for ssh: [watch+]NAME[.OWNER][+UNIXUSER]."""
        if self.watch:
            return f"watch+{self.session}"
        return f"{self.session}+{self.unix_user}" if self.unix_user else self.session

    @classmethod
    def parse(cls, words: Sequence[str], pick: Callable[[], str] | None = None) -> SshArguments:
        """Reads [OPTIONS] [NAME [OPTIONS] [--] [COMMAND…]]; `pick` gives the name where none is typed.

        Raises a usage error.
        """
        reader = _Reader(list(words))
        reader.take_options()
        if not reader.rest and pick is None:
            raise click.UsageError("name a session: `netvps ssh NAME`; `netvps ls` lists yours")
        session = pick() if not reader.rest and pick else reader.rest.pop(0)
        if not session:
            raise click.UsageError("NAME: the value is empty: give one (is a variable of your shell unset?)")
        user, at, name = session.rpartition("@")
        if at:
            reader.unix_user, session = user, name
        session = session.removeprefix("sessions/")
        reader.take_options()
        kept = reader.kept
        if kept.watch and reader.unix_user:
            raise click.UsageError("--watch reads along on terminals of all users: leave the user out")
        options, line = kept.apply(reader.options, reader.rest)
        return cls(session, reader.unix_user, options, line, reader.timeout, kept.watch)


class _Reader:
    """Takes words off the front for as long as they are options."""

    def __init__(self, words: list[str]) -> None:
        self.rest = words
        self.options: list[str] = []
        self.unix_user = ""
        self.timeout: float | None = None
        self.kept = KeptTerminal()

    def take_options(self) -> None:
        while self.rest and self.rest[0].startswith("-") and self.rest[0] != "-":
            word = self.rest.pop(0)
            if word == "--":
                return
            if word == "--user" or word.startswith("--user="):
                self.unix_user = word.partition("=")[2] or self._value(word)
            elif word == "--timeout" or word.startswith("--timeout="):
                self.timeout = DURATION.convert(word.partition("=")[2] or self._value(word), None, None)
            elif self.kept.takes(word, self._value):
                continue
            elif word.startswith("--"):
                raise click.UsageError(f"no such option: {word}; a command that begins with '-' goes after '--'")
            else:
                self._take_letters(word[1:])

    def _take_letters(self, letters: str) -> None:
        for position, letter in enumerate(letters):
            if letter in _FLAGS:
                self.options.append(f"-{letter}")
                continue
            if letter in _OURS:
                raise click.UsageError(f"option -{letter} is not for you to give: {_OURS[letter]}")
            if letter != "l" and letter not in _WITH_VALUE:
                raise click.UsageError(f"no such option of ssh: -{letter}")
            value = letters[position + 1 :] or self._value(f"-{letter}")
            if letter == "l":
                self.unix_user = value
            else:
                self.options += (f"-{letter}", value)
            return

    def _value(self, option: str) -> str:
        if not self.rest:
            raise click.UsageError(f"option {option} needs a value")
        return self.rest.pop(0)
