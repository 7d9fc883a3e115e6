"""The table: columns that fit, text that fits. Its keys and rows are tested by the pages."""

from __future__ import annotations

from netvps_tui.widgets.table import Column, cell_text, fitted


def test_columns_go_by_their_number_and_the_rest_is_shared() -> None:
    columns: list[Column[str]] = [
        Column("A", str, 10, grow=1),
        Column("B", str, 10, drop=1),
        Column("C", str, 10, drop=2, grow=3),
    ]
    assert [(column.title, width) for column, width in fitted(columns, 60)] == [("A", 15), ("B", 10), ("C", 27)]
    assert [column.title for column, _ in fitted(columns, 30)] == ["A", "B"]
    assert [column.title for column, _ in fitted(columns, 5)] == ["A"]


def test_text_is_as_wide_as_its_column_whatever_it_is() -> None:
    assert cell_text("abc", 5) == "abc  "
    assert cell_text("abc", 5, right=True) == "  abc"
    assert cell_text("abcdef", 5) == "abcd…"
    assert cell_text("日本語", 5) == "日本…"
    assert cell_text("a\x1b[2Jb\n", 6) == "a\ufffd[2Jb"
