"""Any text is a filter or an error that names its column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.filter.expression import Every, Expression, Not, Relation, Some, Term
from netvps.domain.filter.kinds import SessionFilter
from netvps.domain.filter.parser import MAX_CHARACTERS, MAX_DEPTH, MAX_TERMS, parse_expression
from netvps.errors import InvalidInput
from tests.domain.filter.test_kinds import CASES, SESSIONS

FIELDS = SessionFilter.fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api state=", "filter: column 11: a value is missing"),
        ("-", "filter: column 2: a value is missing"),
        ("state=runing", "filter: column 7: 'runing' is no state: use failed, paused, "),
        ("api team=web", "filter: column 5: there is no field 'team': use name, owner, state, image, runner, address"),
        ("labels.=x", "there is no field 'labels.'"),
        ("labels.A=x", "there is no field 'labels.A'"),
        ("labels=x", "column 8: labels are many: write labels:KEY, or labels.KEY=VALUE"),
        ("labels:A", "column 8: 'A' is no key of a label"),
        ("a OR", "filter: column 5: a value is missing"),
        ("OR a", 'filter: column 1: a term is missing before OR; in double quotes it is a word: "or"'),
        ("a AND AND b", "filter: column 7: a term is missing before AND"),
        ("a AND", "filter: column 6: a value is missing"),
        ("NOT -a OR", "filter: column 10: a value is missing"),
        ("a (b c", 'filter: column 3: "(" is not closed: add a ")"'),
        ("a b) c", 'filter: column 4: ")" closes nothing'),
        ("a ()", "filter: column 3: there is nothing in these parentheses"),
        ("name=(a)", "filter: column 6: a value with a double quote or a parenthesis stands in double quotes"),
        ("(" * (MAX_DEPTH + 1), f"column {MAX_DEPTH + 1}: more than {MAX_DEPTH} parentheses in each other"),
        ("name>a", "filter: column 6: only create_time has an order: use =, != or :"),
        ("create_time:2026", "filter: column 13: create_time is a time: use =, !=, <, <=, > or >="),
        (
            "create_time>yesterday",
            "filter: column 13: 'yesterday' is no time: write 2026-05-04 or 2026-05-04T10:00:00Z",
        ),
        ("create_time>0001-01-01T00:00:00+01:00", "is no time"),
        ('name="x', "filter: column 6: a quoted value ends with a double quote"),
        ('na"me', "filter: column 1: a value with a double quote"),
        ('""', "filter: column 1: an empty word matches everything"),
        ("a\0b", "filter: column 2: a control character"),
        ("a " * (MAX_TERMS + 1), f"filter: column 33: more than {MAX_TERMS} terms"),
        ("a" * (MAX_CHARACTERS + 1), f"{MAX_CHARACTERS + 1} characters are more than {MAX_CHARACTERS}"),
    ],
)
def test_an_error_has_its_column(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_expression(text, FIELDS)
    assert message in str(caught.value)


@given(
    st.text(max_size=60)
    | st.text('ab=!:<>"\\-.() ', max_size=40)
    | st.lists(st.sampled_from(["AND", "OR", "NOT", "-", "(", ")", *(text for text, _ in CASES)])).map(" ".join)
)
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    try:
        parsed = SessionFilter.parse(text)
    except InvalidInput as error:
        assert error.violations[0].field == "filter"
        return
    for one in SESSIONS:
        assert parsed.matches(one) == all(SessionFilter(Every((part,))).matches(one) for part in parsed.expression.of)


_words = st.text(min_size=1, max_size=5).filter(lambda text: text.isprintable()).map(str.casefold)
_terms = st.builds(Term, st.sampled_from(["", "name", "image"]), _words, st.just(Relation.HAS)) | st.builds(
    Term, st.just("owner"), _words, st.just(Relation.EQUAL)
)
_expressions = st.recursive(
    _terms,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(Every, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Some, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


def written(expression: Expression) -> str:
    """The text of an expression, with all parentheses."""
    match expression:
        case Every(of):
            return f"({' '.join(map(written, of))})"
        case Some(of):
            return f"({' OR '.join(map(written, of))})"
        case Not(of):
            return f"NOT ({written(of)})"
        case Term(name, value, relation):
            quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            return f"{name}{relation}{quoted}" if name else quoted


def plain(expression: Expression) -> Expression:
    """The same without conjunctions of one."""
    match expression:
        case Every((only,)):
            return plain(only)
        case Every(of):
            return Every(tuple(map(plain, of)))
        case Some(of):
            return Some(tuple(map(plain, of)))
        case Not(of):
            return Not(plain(of))
    return expression


@given(_expressions)
def test_an_expression_comes_back_as_it_was_written(expression: Expression) -> None:
    text = written(expression)
    try:
        parsed = parse_expression(text, FIELDS)
    except InvalidInput as error:
        assert "in each other" in str(error) or "are more than" in str(error)
        return
    assert plain(parsed) == plain(expression)
