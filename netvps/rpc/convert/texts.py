"""Limits of texts from tenants and machines; each converter checks the strings that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

WORD_MAX: Final = 255
"""Maximum characters of an identifier, a version or a name."""
SENTENCE_MAX: Final = 2000
"""Maximum characters of a sentence for people."""


def word(text: str, field: str, limit: int = WORD_MAX) -> str:
    """Returns an identifier of printable characters; raises InvalidInput if it is longer or has others."""
    if len(text) <= limit and text.isprintable():
        return text
    raise InvalidInput.of(field, f"{shown(text)} is not up to {limit} printable characters")


def words(texts: Iterable[str], field: str, most: int) -> tuple[str, ...]:
    """Returns at most `most` identifiers; raises InvalidInput for more of them, or an invalid one."""
    found = tuple(texts)
    if len(found) > most:
        raise InvalidInput.of(field, f"{len(found)} are more than {most}")
    return tuple(word(text, f"{field}[{index}]") for index, text in enumerate(found))


def sentence(text: str, limit: int = SENTENCE_MAX) -> str:
    """Returns text for people: truncated, with control characters except newlines escaped."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in cut)
