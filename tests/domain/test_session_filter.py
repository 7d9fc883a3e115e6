"""What a filter matches, and where an error is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.session_filter import MAX_CHARACTERS, MAX_TERMS, SessionFilter
from netvps.errors import InvalidInput

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def session(name: str, *, image: str = "debian:12", labels: dict[str, str] | None = None, **more: Any) -> Session:
    spec = SessionSpec(image=image, labels=labels or {})
    return Session(f"uid-{name}", name, more.pop("owner", "alice"), spec, DesiredState.RUNNING, 1, NOW, NOW, **more)


SESSIONS = [
    session("api", state=SessionState.RUNNING, runner_name="box1", labels={"team": "Web", "env/tier": "a_b"}),
    session("api2", owner="bob", image="ghcr.io/x/API:1", state=SessionState.STOPPED, runner_name="box12"),
    session("db", address="10.128.0.7", labels={"team": "50% off"}),
    session("web", overlay_address="10.128.4.9", address="172.17.0.2", labels={"team": ""}, state=SessionState.FAILED),
]
CASES = [
    ("", "api api2 db web"),
    ("api", "api api2"),
    ("API", "api api2"),
    ("name=api", "api"),
    ("NAME=api", "api"),
    ("name!=api", "api2 db web"),
    ("-name=api", "api2 db web"),
    ("NOT name=api", "api2 db web"),
    ("-name!=api", "api"),
    ("state=running", "api"),
    ("state:ed", "api2 web"),
    ("runner=box1", "api"),
    ("runner:box1", "api api2"),
    ('runner=""', "db web"),
    ("owner=bob", "api2"),
    ("debian:12", "api db web"),
    ("image:ghcr", "api2"),
    ("image=ghcr.io/x/api:1", "api2"),
    ("labels.team=web", "api"),
    ("labels.team:*", "api db web"),
    ("-labels.team:*", "api2"),
    ("labels.team!=web", "api2 db web"),
    ('labels.team=""', "web"),
    ('labels.team:"50% "', "db"),
    ("labels.team:_", ""),
    ("labels.env/tier:_", "api"),
    ("10.128", "db web"),
    ("address=10.128.4.9", "web"),
    ("172.17", ""),
    ("api AND state=STOPPED", "api2"),
    ("  api   -bob  ", "api"),
    ('"or"', ""),
    ("%", ""),
    ("\\", ""),
    ("'; drop table session; --", None),
]


@pytest.mark.parametrize(("text", "names"), CASES)
def test_terms_match(text: str, names: str | None) -> None:
    if names is None:
        assert [one.name for one in SESSIONS if SessionFilter.parse(text).matches(one)] == []
    else:
        assert [one.name for one in SESSIONS if SessionFilter.parse(text).matches(one)] == names.split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api state=", "filter: column 11: a value is missing"),
        ("-", "filter: column 2: a value is missing"),
        ("state=runing", "filter: column 7: 'runing' is no state: use failed, paused, "),
        ("api team=web", "filter: column 5: there is no field 'team': use name, owner, state, image, runner, address"),
        ("labels.=x", "there is no field 'labels.'"),
        ("labels.A=x", "there is no field 'labels.A'"),
        ("a OR b", "filter: column 3: OR is not supported"),
        ('name="x', "filter: column 6: a quoted value ends with a double quote"),
        ('na"me', "filter: column 1: a value with a double quote stands in double quotes"),
        ('""', "filter: column 1: an empty word matches everything"),
        ("a " * (MAX_TERMS + 1), f"filter: column 33: more than {MAX_TERMS} terms"),
        ("a" * (MAX_CHARACTERS + 1), f"{MAX_CHARACTERS + 1} characters are more than {MAX_CHARACTERS}"),
    ],
)
def test_an_error_has_its_column(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SessionFilter.parse(text)
    assert message in str(caught.value)


@given(st.text(max_size=60) | st.text('ab=!:"\\-. ', max_size=40) | st.sampled_from([text for text, _ in CASES]))
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    try:
        parsed = SessionFilter.parse(text)
    except InvalidInput as error:
        assert error.violations[0].field == "filter"
        return
    for one in SESSIONS:
        assert parsed.matches(one) == all(term.matches(one) for term in parsed.terms)
