"""Filters of session lists: a small subset of AIP-160, matched here and by the database.

    state=RUNNING runner=box1 -labels.team=ops web

Terms are separated by spaces and must all match. A term is a word that some field contains, or FIELD=VALUE,
FIELD!=VALUE, FIELD:PART; `-` or NOT negates it. `labels.KEY:*` matches any value. Case does not matter. A value with
spaces stands in double quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from netvps.domain.checks import shown
from netvps.domain.session.session import SessionState
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.session.session import Session

FIELDS: Final = ("name", "owner", "state", "image", "runner", "address")
"""What a term may name; a word without a field may be in any of them."""
LABELS: Final = "labels"
MAX_CHARACTERS, MAX_TERMS = 512, 16
_STATES: Final = {state.lower() for state in SessionState} - {SessionState.DELETED.lower()}
_FIELD: Final = re.compile(r"(?P<field>[A-Za-z_][-\w./]*)(?P<relation>!=|=|:)")
_LABEL_KEY: Final = re.compile(r"[a-z0-9]([-a-z0-9_./]*[a-z0-9])?")
_VALUE: Final = re.compile(r'"(?P<quoted>(?:[^"\\]|\\["\\])*)"(?=\s|$)|(?P<word>[^\s"]+)(?=\s|$)')
_CASELESS: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `field` is '' for any of FIELDS, or LABELS with a `label`."""

    field: str
    value: str
    """In lower case."""
    exact: bool = False
    """Equal to the value; otherwise it is contained, and '' is contained in whatever is there."""
    negated: bool = False
    label: str = ""

    def matches(self, session: Session) -> bool:
        """Whether the session fulfils it."""
        return self._found(session) != self.negated

    def _found(self, session: Session) -> bool:
        texts = [text_of(session, name) for name in ([self.field] if self.field in FIELDS else FIELDS)]
        if self.field == LABELS:
            own = session.spec.labels.get(self.label)
            texts = [] if own is None else [caseless(own)]
        return self.value in texts if self.exact else any(self.value in text for text in texts)


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Terms that all have to match; none matches everything."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def parse(cls, text: str, field: str = "filter") -> Self:
        """Parses a filter. Raises InvalidInput, which names the column of the first error, from 1."""
        if len(text) > MAX_CHARACTERS:
            raise InvalidInput.of(field, f"{len(text)} characters are more than {MAX_CHARACTERS}: use fewer terms")
        terms: list[Term] = []
        at = _skip_spaces(text, 0)
        while at < len(text):
            if len(terms) == MAX_TERMS:
                raise _wrong(field, at, f"more than {MAX_TERMS} terms: leave some out")
            term, at = _parse_term(text, at, field)
            terms.append(term)
            at = _skip_and(text, _skip_spaces(text, at), field)
        return cls(tuple(terms))

    def matches(self, session: Session) -> bool:
        """Whether a session fulfils all terms."""
        return all(term.matches(session) for term in self.terms)


def caseless(text: str) -> str:
    """The text with A to Z in lower case, and all else unchanged, as databases do it in collation "C"."""
    return text.translate(_CASELESS)


def text_of(session: Session, name: str) -> str:
    """The caseless text of one of FIELDS."""
    match name:
        case "image":
            return caseless(session.spec.image)
        case "runner":
            return caseless(session.runner_name)
        case "address":
            return session.overlay_address or session.address
        case _:
            return caseless(str(getattr(session, name)))


def _parse_term(text: str, at: int, field: str) -> tuple[Term, int]:
    begun, negated = at, False
    if text.startswith("-", at):
        at, negated = at + 1, True
    elif text.startswith("NOT ", at):
        at, negated = _skip_spaces(text, at + 4), True
    found = _FIELD.match(text, at)
    name, label, relation = "", "", ":"
    if found and _is_field(found["field"], found["relation"]):
        name, label = _field(found["field"], at, field)
        at, relation = found.end(), found["relation"]
    value = _VALUE.match(text, at)
    if value is None:
        raise _wrong(field, at, _reason_no_value(text, at))
    word = caseless(value["word"] or re.sub(r"\\(.)", r"\1", value["quoted"] or ""))
    if not (name or word):
        raise _wrong(field, begun, "an empty word matches everything: leave it out")
    if name == "state" and relation != ":" and word not in _STATES:
        raise _wrong(field, at, f"{shown(word)} is no state: use {', '.join(sorted(_STATES))}")
    if label and relation == ":" and word == "*":
        word = ""
    return Term(name, word, relation != ":", negated != (relation == "!="), label), value.end()


def _is_field(name: str, relation: str) -> bool:
    """Whether a word before a relation names a field. `debian:12` is an image, and so a word."""
    return relation != ":" or name.lower() in FIELDS or name.lower().startswith(f"{LABELS}.")


def _field(name: str, at: int, field: str) -> tuple[str, str]:
    if name.lower() in FIELDS:
        return name.lower(), ""
    labels, _, label = name.partition(".")
    if labels.lower() == LABELS and _LABEL_KEY.fullmatch(label):
        return LABELS, label
    raise _wrong(field, at, f"there is no field {shown(name)}: use {', '.join(FIELDS)} or labels.KEY")


def _reason_no_value(text: str, at: int) -> str:
    if text.startswith('"', at):
        return 'a quoted value ends with a double quote, before a space; write \\" and \\\\ inside of it'
    if at >= len(text) or text[at].isspace():
        return "a value is missing"
    return "a value with a double quote stands in double quotes"


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _skip_and(text: str, at: int, field: str) -> int:
    """Skips AND between two terms."""
    word = text[at : at + 4].rstrip()
    if word == "OR" or text.startswith("OR ", at):
        raise _wrong(field, at, 'OR is not supported; in double quotes it is a word: "or"')
    if not text.startswith("AND ", at):
        return at
    return _skip_spaces(text, at + 4)


def _wrong(field: str, at: int, why: str) -> InvalidInput:
    return InvalidInput.of(field, f"column {at + 1}: {why}")
