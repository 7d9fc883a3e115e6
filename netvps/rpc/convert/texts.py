"""Bounds of what tenants and machines send as text; each string is bounded in the converter that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

WORD_MAX: Final = 255
"""Characters of an identifier, a version or a name."""
SENTENCE_MAX: Final = 2000
"""Characters of a sentence for people."""


def word(text: str, field: str, limit: int = WORD_MAX) -> str:
    """Returns an identifier of printable characters; raises InvalidInput if it is longer, or something else."""
    if len(text) <= limit and text.isprintable():
        return text
    raise InvalidInput.of(field, f"{shown(text)} is not up to {limit} printable characters")


def words(texts: Iterable[str], field: str, most: int) -> tuple[str, ...]:
    """Returns at most so many identifiers; raises InvalidInput for more of them, or a wrong one."""
    found = tuple(texts)
    if len(found) > most:
        raise InvalidInput.of(field, f"{len(found)} are more than {most}")
    return tuple(word(text, f"{field}[{index}]") for index, text in enumerate(found))


def sentence(text: str, limit: int = SENTENCE_MAX) -> str:
    """Returns text for people: cut, and with what would steer a terminal escaped; line ends stay."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in cut)
