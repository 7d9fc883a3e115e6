"""Filters of sessions as conditions of SQL; values are bound parameters."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, func, not_, or_, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from netvps.adapters.store.tables import KINDS
from netvps.domain.session.session import Session
from netvps.domain.session_filter import FIELDS, LABELS, SessionFilter, Term

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.compiler import SQLCompiler

_TABLE = KINDS[Session.kind].table


def condition(wanted: SessionFilter) -> ColumnElement[bool]:
    """The condition that all terms match."""
    return reduce(and_, map(_term, wanted.terms), true())


def _term(term: Term) -> ColumnElement[bool]:
    if term.field == LABELS:
        own = _JsonText(_TABLE.c.data, "spec", "labels", term.label)
        found = and_(own.is_not(None), _has(func.lower(own), term))
    elif term.field:
        found = _has(_text(term.field), term)
    else:
        found = or_(*(_has(_text(name), term) for name in FIELDS))
    return not_(found) if term.negated else found


def _text(field: str) -> ColumnElement[str]:
    """The column or the text of a field, in lower case where it may have another."""
    match field:
        case "image":
            return func.lower(func.coalesce(_JsonText(_TABLE.c.data, "spec", "image"), ""))
        case "runner":
            return func.lower(func.coalesce(_JsonText(_TABLE.c.data, "runner_name"), ""))
        case "address":
            own = func.coalesce(_JsonText(_TABLE.c.data, "address"), "")
            return func.coalesce(func.nullif(_TABLE.c.overlay_address, ""), own)
        case "state":
            return func.lower(_TABLE.c.state)
        case _:
            return _TABLE.c[field]


def _has(text: ColumnElement[str], term: Term) -> ColumnElement[bool]:
    if term.exact:
        return text == term.value
    return text.contains(term.value, autoescape=True)


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
