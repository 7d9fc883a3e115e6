from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.names import (
    RUNNER_NAME_MAX,
    SESSION_NAME_MAX,
    USER_NAME_MAX,
    WATCH_LOGIN,
    SessionName,
    SshLogin,
    check_label,
    check_unix_user,
    label_from,
)
from netvps.errors import InvalidInput

_INNER = string.ascii_lowercase + string.digits + "-"


def labels(limit: int) -> st.SearchStrategy[str]:
    return st.text(_INNER, min_size=1, max_size=limit).map(lambda text: text.strip("-")).filter(bool)


unix_users = st.from_regex(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,31}", fullmatch=True)


@given(labels(SESSION_NAME_MAX), labels(USER_NAME_MAX))
def test_a_full_name_reads_back(name: str, owner: str) -> None:
    full = SessionName(owner, name)
    assert SessionName.parse(str(full), "somebody") == full
    assert SessionName.parse(name, owner) == full


@given(labels(SESSION_NAME_MAX), st.none() | labels(USER_NAME_MAX), st.none() | unix_users)
def test_a_login_reads_back(name: str, owner: str | None, unix_user: str | None) -> None:
    text = name + (f".{owner}" if owner else "") + (f"+{unix_user}" if unix_user else "")
    assert SshLogin.parse(text) == SshLogin(name, owner, unix_user or "root")


@given(st.text(max_size=80))
def test_any_text_is_a_login_or_a_typed_error_without_escapes(text: str) -> None:
    for parse in (SshLogin.parse, lambda t: SessionName.parse(t, "alice"), check_unix_user):
        try:
            parse(text)
        except InvalidInput as error:
            assert str(error).isprintable()


@given(st.text(max_size=100), st.integers(1, RUNNER_NAME_MAX))
def test_any_text_has_a_nearest_label(text: str, limit: int) -> None:
    label = label_from(text, "x", limit)
    assert check_label(label, "name", limit) == label
    assert label_from(label, "x", limit) == label


@pytest.mark.parametrize(
    ("text", "label"), [("Lab-1.example", "lab-1-example"), ("__", "node"), ("Åsa", "sa"), ("", "node")]
)
def test_the_nearest_label(text: str, label: str) -> None:
    assert label_from(text, "node") == label


@pytest.mark.parametrize("bad", ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a\n", "x" * 41])
def test_what_is_no_label(bad: str) -> None:
    with pytest.raises(InvalidInput, match="use 1 to 40 lower-case letters, digits and '-'"):
        check_label(bad, "name", SESSION_NAME_MAX)


@pytest.mark.parametrize("bad", ["", "-x", ".a", "a+b", "ä", "a/b", "a:b", "a b", "x" * 33, "a\n"])
def test_what_is_no_unix_user(bad: str) -> None:
    with pytest.raises(InvalidInput, match="is not the name of a Unix user"):
        SshLogin.parse(f"dev1+{bad}")


@pytest.mark.parametrize("bad", ["dev1.", ".alice", "dev1.Alice", "a.b.c", "Dev"])
def test_violations_of_a_session_name_name_the_field_that_was_given(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SessionName.parse(bad, "alice")
    assert [violation.field for violation in caught.value.violations] == ["name"]


@given(labels(SESSION_NAME_MAX), st.none() | labels(USER_NAME_MAX))
def test_a_login_that_watches_does_nothing_else(name: str, owner: str | None) -> None:
    text = "watch+" + name + (f".{owner}" if owner else "")
    assert SshLogin.parse(text) == SshLogin(name, owner, WATCH_LOGIN)
    for more in ("+root", "+.snapshots", "+watch"):
        with pytest.raises(InvalidInput):
            SshLogin.parse(text + more)


def test_a_session_called_watch_is_reached_by_its_whole_name() -> None:
    assert SshLogin.parse("watch.ann+www-data") == SshLogin("watch", "ann", "www-data")
    assert SshLogin.parse("watch") == SshLogin("watch", None, "root")
