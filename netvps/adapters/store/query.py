"""Filters and orders of lists as SQL; values are bound parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, and_, case, cast, false, func, literal, not_, or_, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from netvps.domain.filter.expression import COMPARE, LABELS, Every, Not, Relation, Some, Term
from netvps.domain.runner.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.compiler import SQLCompiler

    from netvps.adapters.store.tables import Kind
    from netvps.domain.filter.expression import Expression, Fields
    from netvps.domain.filter.order import Order

_PATHS: Final = {
    "image": ("spec", "image"),
    "runner": ("runner_name",),
    "architecture": ("capacity", "architecture"),
    "version": ("version",),
}
"""Texts that are only in the JSON of a resource."""
Keys = list[tuple["ColumnElement[Any]", bool]]
"""What rows are ordered by, each with whether it descends."""


def condition(expression: Expression, kind: Kind, fields: Fields[Any]) -> ColumnElement[bool]:
    """The condition that rows match an expression."""
    match expression:
        case Every(of):
            return and_(true(), *(condition(one, kind, fields) for one in of))
        case Some(of):
            return or_(false(), *(condition(one, kind, fields) for one in of))
        case Not(of):
            return not_(condition(of, kind, fields))
        case Term(name, _, _, label) if name == LABELS:
            own = _label(kind, label)
            return and_(own.is_not(None), _relates(func.lower(own), expression))
        case Term(name):
            names = [name] if name else fields.words
            return or_(false(), *(_relates(_text(kind, one), expression) for one in names))


def keys_of(kind: Kind, order: Order) -> Keys:
    """What rows in this order are ordered by; the natural order, which is unique, comes last."""
    own = [(_text(kind, name), descends) for name, descends in order.keys]
    return [*own, *((kind.table.c[name], False) for name in kind.order)]


def after(keys: Keys, position: Sequence[str]) -> ColumnElement[bool]:
    """The condition that rows come after a position, which has a value of each key."""
    found: ColumnElement[bool] = false()
    equal: ColumnElement[bool] = true()
    for (column, descends), value in zip(keys, position, strict=True):
        further = column < value if descends else column > value
        found, equal = or_(found, and_(equal, further)), and_(equal, column == value)
    return found


def ordered(keys: Keys) -> Iterable[ColumnElement[Any]]:
    """The keys for ORDER BY."""
    return [column.desc() if descends else column for column, descends in keys]


def _relates(text: ColumnElement[str], term: Term) -> ColumnElement[bool]:
    if term.relation is Relation.EQUAL:
        return text == term.value
    if term.relation is Relation.HAS:
        return text.contains(term.value, autoescape=True)
    compared: ColumnElement[bool] = COMPARE[term.relation](text, term.value)
    return compared


def _text(kind: Kind, field: str) -> ColumnElement[str]:
    """The column or the text of a field, in lower case where it may have another; never NULL."""
    table = kind.table
    if field in _PATHS:
        return func.lower(func.coalesce(_JsonText(table.c.data, *_PATHS[field]), ""))
    if field == "cordoned":
        given = cast(_JsonText(table.c.data, "cordoned"), Text)  # a number in SQLite
        return case((given.in_(("1", "true")), literal("true")), else_=literal("false"))
    if field == "create_time":
        return func.coalesce(func.rtrim(_JsonText(table.c.data, "create_time"), "Z"), "")
    if field == "address":
        own = func.coalesce(_JsonText(table.c.data, "address"), "")
        return func.coalesce(func.nullif(table.c.overlay_address, ""), own)
    return func.lower(table.c.state) if field == "state" else table.c[field]


def _label(kind: Kind, key: str) -> ColumnElement[str]:
    """The value of a label; NULL without it."""
    if kind.type is Runner:
        return _Pair(kind.table.c.data, literal(f"{key}="))
    return _JsonText(kind.table.c.data, "spec", "labels", key)


class _JsonText(FunctionElement[str]):
    """The text at a path of keys in a column of JSON; NULL where it has none."""

    name = "json_text"
    type = Text()
    inherit_cache = True


@compiles(_JsonText, "sqlite")
def _sqlite(element: _JsonText, compiler: SQLCompiler, **more: Any) -> str:
    data, *keys = (compiler.process(clause, **more) for clause in element.clauses)
    path = " || ".join(f"'.\"' || {key} || '\"'" for key in keys)
    return f"json_extract({data}, '$' || {path})"


@compiles(_JsonText, "postgresql")
def _postgresql(element: _JsonText, compiler: SQLCompiler, **more: Any) -> str:
    data, *keys = (compiler.process(clause, **more) for clause in element.clauses)
    path = ", ".join(f"CAST({key} AS TEXT)" for key in keys)
    return f'(json_extract_path_text(CAST({data} AS JSON), {path}) COLLATE "C")'


class _Pair(FunctionElement[str]):
    """What follows a prefix in the member of the list `labels` of a column of JSON that has it; NULL without one."""

    name = "json_pair"
    type = Text()
    inherit_cache = True


@compiles(_Pair, "sqlite")
def _pair_sqlite(element: _Pair, compiler: SQLCompiler, **more: Any) -> str:
    data, prefix = (compiler.process(clause, **more) for clause in element.clauses)
    rest = f"substr(pair.value, length({prefix}) + 1)"
    pairs = f"json_each({data}, '$.labels') AS pair"
    return f"(SELECT {rest} FROM {pairs} WHERE {prefix} || {rest} = pair.value LIMIT 1)"  # noqa: S608


@compiles(_Pair, "postgresql")
def _pair_postgresql(element: _Pair, compiler: SQLCompiler, **more: Any) -> str:
    data, prefix = (compiler.process(clause, **more) for clause in element.clauses)
    prefix = f"CAST({prefix} AS TEXT)"
    rest = f"substr(pair.value, length({prefix}) + 1)"
    pairs = f"json_array_elements_text(CAST({data} AS JSON) -> 'labels') AS pair(value)"
    return f'((SELECT {rest} FROM {pairs} WHERE starts_with(pair.value, {prefix}) LIMIT 1) COLLATE "C")'  # noqa: S608
