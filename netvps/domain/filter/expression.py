"""Filters as values: terms joined by NOT, AND and OR, and whether a resource matches them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

T_contra = TypeVar("T_contra", contravariant=True)
LABELS: Final = "labels"
_CASELESS: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Relation(StrEnum):
    """How the text of a field relates to the value of a term."""

    EQUAL = "="
    HAS = ":"
    """The value is a part of it; '' is a part of whatever there is."""
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    Relation.LESS: lt,
    Relation.AT_MOST: le,
    Relation.GREATER: gt,
    Relation.AT_LEAST: ge,
}
"""Relations of fields that have an order. The functions take texts, and expressions of SQL."""


@dataclass(frozen=True)
class Fields(Generic[T_contra]):
    """What a filter of one kind of resource may name. All texts are caseless."""

    texts: Mapping[str, Callable[[T_contra], str]]
    words: tuple[str, ...]
    """The fields in which a word without a field may be."""
    labels: Callable[[T_contra], Mapping[str, str]]
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """All values that a field can have, where they are known."""
    times: frozenset[str] = frozenset({"create_time"})
    """The fields that are times; their texts are those of `time_text`."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `name` is '' for any of the fields of words, or LABELS with a `label`."""

    name: str
    value: str
    relation: Relation = Relation.HAS
    label: str = ""


@dataclass(frozen=True, slots=True)
class Not:
    """What the expression does not match."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Every:
    """What all expressions match; without any, everything."""

    of: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Some:
    """What at least one of the expressions matches."""

    of: tuple[Expression, ...]


Expression = Term | Not | Every | Some


def matches(expression: Expression, resource: T_contra, fields: Fields[T_contra]) -> bool:
    """Whether a resource matches."""
    match expression:
        case Every(of):
            return all(matches(one, resource, fields) for one in of)
        case Some(of):
            return any(matches(one, resource, fields) for one in of)
        case Not(of):
            return not matches(of, resource, fields)
        case Term(name, value, relation, label):
            return any(_relates(text, relation, value) for text in _texts(name, label, resource, fields))


def _texts(name: str, label: str, resource: T_contra, fields: Fields[T_contra]) -> list[str]:
    if name == LABELS:
        own = fields.labels(resource).get(label)
        return [] if own is None else [caseless(own)]
    return [fields.texts[one](resource) for one in ([name] if name else fields.words)]


def _relates(text: str, relation: Relation, value: str) -> bool:
    if relation is Relation.EQUAL:
        return text == value
    return value in text if relation is Relation.HAS else bool(COMPARE[relation](text, value))


def caseless(text: str) -> str:
    """The text with A to Z in lower case, and all else unchanged, as databases do it in collation "C"."""
    return text.translate(_CASELESS)


def time_text(time: datetime) -> str:
    """A time in UTC to the microsecond, so that texts compare as times do: a fraction is longer than none."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat()
