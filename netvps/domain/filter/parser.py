"""Parses filters of lists, a subset of AIP-160.

    state=RUNNING (runner=box1 OR runner=box2) -labels.team=ops create_time>=2026-05-01 web

Terms are separated by spaces, or AND, and must all match. OR binds more tightly, as in AIP-160; parentheses group. A
term is a word that some field contains, or FIELD=VALUE, FIELD!=VALUE, FIELD:PART; of times also <, <=, > and >=.
`-` or NOT negates a term or a group. `labels.KEY:*`, or `labels:KEY`, matches any value. Case does not matter. A value
with spaces or parentheses stands in double quotes, and so does a word AND, OR or NOT.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from netvps.domain.checks import shown
from netvps.domain.filter.expression import LABELS, Every, Not, Relation, Some, Term, caseless, time_text
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.filter.expression import Expression, Fields

MAX_CHARACTERS, MAX_TERMS, MAX_DEPTH = 512, 16, 8
_FIELD: Final = re.compile(r"(?P<field>[A-Za-z_][-\w./]*)(?P<relation>!=|<=|>=|=|<|>|:)")
_LABEL_KEY: Final = re.compile(r"[a-z0-9]([-a-z0-9_./]*[a-z0-9])?")
_VALUE: Final = re.compile(r'"(?P<quoted>(?:[^"\\]|\\["\\])*)"(?=[\s)]|$)|(?P<word>[^\s"()]+)(?=[\s)]|$)')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")
_KEYWORD: Final = re.compile(r"(AND|OR|NOT)(?=[\s()]|$)")


def parse_expression(text: str, fields: Fields[Any], field: str = "filter") -> Every:
    """Parses a filter. Raises InvalidInput for `field`, which names the column of the first error, from 1."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput.of(field, f"{len(text)} characters are more than {MAX_CHARACTERS}: use fewer terms")
    parser = _Parser(text, fields, field)
    if control := _CONTROL.search(text):
        raise parser.error("a control character: leave it out", control.start())
    found = parser.conjunction(0)
    if not parser.at_end:
        raise parser.error('")" closes nothing: leave it out, or put it in double quotes')
    return found


class _Parser:
    """Recursive descent, over a position that only grows."""

    def __init__(self, text: str, fields: Fields[Any], field: str) -> None:
        self._text = text
        self._fields = fields
        self._field = field
        self._at = 0
        self._terms = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing but spaces is left."""
        self._skip_spaces()
        return self._at == len(self._text)

    def error(self, why: str, at: int | None = None) -> InvalidInput:
        """The error at a position, by default the present one."""
        return InvalidInput.of(self._field, f"column {(self._at if at is None else at) + 1}: {why}")

    def conjunction(self, depth: int) -> Every:
        """Parses terms up to the end, or to the parenthesis that closes them."""
        found: list[Expression] = []
        while not self.at_end and self._text[self._at] != ")":
            if found and self._keyword("AND"):
                self._skip_spaces()
            found.append(self._disjunction(depth))
        return Every(tuple(found))

    def _disjunction(self, depth: int) -> Expression:
        found = [self._negatable(depth)]
        self._skip_spaces()
        while self._keyword("OR"):
            self._skip_spaces()
            found.append(self._negatable(depth))
            self._skip_spaces()
        return found[0] if len(found) == 1 else Some(tuple(found))

    def _negatable(self, depth: int) -> Expression:
        negated = self._text.startswith("-", self._at)
        if negated:
            self._at += 1
        elif self._keyword("NOT"):
            self._skip_spaces()
            negated = True
        found = self._group(depth) if self._text.startswith("(", self._at) else self._term()
        return Not(found) if negated else found

    def _group(self, depth: int) -> Expression:
        opened = self._at
        if depth == MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} parentheses in each other: write it with fewer")
        self._at += 1
        found = self.conjunction(depth + 1)
        if not self._text.startswith(")", self._at):
            raise self.error('"(" is not closed: add a ")"', opened)
        if not found.of:
            raise self.error("there is nothing in these parentheses: leave them out", opened)
        self._at += 1
        return found

    def _term(self) -> Expression:
        if self._terms == MAX_TERMS:
            raise self.error(f"more than {MAX_TERMS} terms: leave some out")
        self._terms += 1
        found = _FIELD.match(self._text, self._at)
        if found is None or not self._names_field(found["field"], found["relation"]):
            word = self._value(field=False)
            if not word:
                raise self.error("an empty word matches everything: leave it out", self._at - len('""'))
            return Term("", caseless(word))
        name, label = self._name(found["field"])
        self._at = found.end()
        negated, relation = found["relation"] == "!=", Relation(found["relation"].removeprefix("!"))
        if name == LABELS and not label:
            return self._has_label(relation, negated=negated)
        begun, value = self._at, self._value(field=True)
        term = Term(name, self._checked(name, relation, value, begun), relation, label)
        if label and relation is Relation.HAS and value == "*":
            term = Term(name, "", relation, label)
        return Not(term) if negated else term

    def _has_label(self, relation: Relation, *, negated: bool) -> Term:
        if relation is not Relation.HAS or negated:
            raise self.error("labels are many: write labels:KEY, or labels.KEY=VALUE")
        begun, key = self._at, self._value(field=True)
        if not _LABEL_KEY.fullmatch(key):
            raise self.error(f"{shown(key)} is no key of a label", begun)
        return Term(LABELS, "", relation, key)

    def _checked(self, name: str, relation: Relation, value: str, at: int) -> str:
        """The value as the texts of the field have it."""
        if name in self._fields.times:
            if relation is Relation.HAS:
                raise self.error(f"{name} is a time: use =, !=, <, <=, > or >=", at)
            return self._time(value, at)
        if relation not in {Relation.EQUAL, Relation.HAS}:
            raise self.error(f"only {', '.join(sorted(self._fields.times))} has an order: use =, != or :", at)
        word, known = caseless(value), self._fields.values.get(name)
        if known is not None and relation is Relation.EQUAL and word not in known:
            raise self.error(f"{shown(word)} is no {name}: use {', '.join(sorted(known))}", at)
        return word

    def _time(self, value: str, at: int) -> str:
        try:
            time = datetime.fromisoformat(value)
            return time_text(time if time.tzinfo else time.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            raise self.error(f"{shown(value)} is no time: write 2026-05-04 or 2026-05-04T10:00:00Z", at) from None

    def _names_field(self, name: str, relation: str) -> bool:
        """Whether a word before a relation names a field. `debian:12` is an image, and so a word."""
        known = name.lower() in self._fields.texts or name.lower().partition(".")[0] == LABELS
        return relation != ":" or known

    def _name(self, name: str) -> tuple[str, str]:
        if name.lower() in self._fields.texts:
            return name.lower(), ""
        labels, dot, label = name.partition(".")
        if labels.lower() == LABELS and (not dot or _LABEL_KEY.fullmatch(label)):
            return LABELS, label
        raise self.error(f"there is no field {shown(name)}: use {', '.join(self._fields.texts)} or labels.KEY")

    def _value(self, *, field: bool) -> str:
        """Takes a value; a word that is no value of a field is not a keyword."""
        found = _VALUE.match(self._text, self._at)
        if found is None or (not field and _KEYWORD.match(self._text, self._at)):
            raise self.error(self._reason_no_value())
        self._at = found.end()
        return found["word"] or re.sub(r"\\(.)", r"\1", found["quoted"] or "")

    def _reason_no_value(self) -> str:
        if keyword := _KEYWORD.match(self._text, self._at):
            return f'a term is missing before {keyword[0]}; in double quotes it is a word: "{keyword[0].lower()}"'
        if self._text.startswith('"', self._at):
            return 'a quoted value ends with a double quote, before a space; write \\" and \\\\ inside of it'
        if self._at >= len(self._text) or self._text[self._at].isspace() or self._text[self._at] == ")":
            return "a value is missing"
        return "a value with a double quote or a parenthesis stands in double quotes"

    def _keyword(self, word: str) -> bool:
        """Skips a keyword; whether it is there."""
        found = _KEYWORD.match(self._text, self._at)
        if found is None or found[0] != word:
            return False
        self._at = found.end()
        return True

    def _skip_spaces(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
