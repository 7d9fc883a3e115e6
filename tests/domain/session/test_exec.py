from __future__ import annotations

import pytest

from netvps.domain.session.exec import ExecStart, TerminalSize
from netvps.errors import InvalidInput


@pytest.mark.parametrize(("columns", "rows", "fields"), [(0, 1, ["columns"]), (10001, 0, ["columns", "rows"])])
def test_a_terminal_has_a_size(columns: int, rows: int, fields: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        TerminalSize(columns, rows)
    assert [violation.field for violation in caught.value.violations] == fields


def test_a_command_is_run_as_root_without_a_terminal() -> None:
    start = ExecStart("dev1", ("true",))
    assert (start.user, start.terminal, start.term) == ("root", None, "")


def test_all_that_is_wrong_with_a_command_comes_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        ExecStart("dev1", (), user="a+b")
    assert [violation.field for violation in caught.value.violations] == ["argv", "user"]
    with pytest.raises(InvalidInput, match="argv: an argument holds a NUL byte"):
        ExecStart("dev1", ("echo", "a\0b"))


def test_a_command_is_as_long_as_a_shell_takes() -> None:
    ExecStart("dev1", ("echo", "x" * 100_000))
    with pytest.raises(InvalidInput, match=r"argv: 200005 bytes are more than 122880: send large data by stdin"):
        ExecStart("dev1", ("echo", "x" * 199_999))
    with pytest.raises(InvalidInput, match="term: "):
        ExecStart("dev1", ("echo",), term="x" * 65)
