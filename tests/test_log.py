from __future__ import annotations

import io
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from netvps.errors import ConfigError
from netvps.log import redact, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "nv_k1d2_c2VjcmV0c2VjcmV0c2VjcmV0"
TOKEN = "nvj_k1d2_c2VjcmV0c2VjcmV0_0123456789abcdef"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIE\n-----END EC PRIVATE KEY-----"


@contextmanager
def _set_up() -> Iterator[io.StringIO]:
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    set_up("test", stream=stream)
    try:
        yield stream
    finally:
        logging.basicConfig(handlers=handlers, level=level, force=True)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    with _set_up() as stream:
        yield stream


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("secret", [KEY, TOKEN, PEM, PEM.removesuffix("-----END EC PRIVATE KEY-----")])
def test_secrets_are_cut_out_of_any_text(secret: str) -> None:
    reported = redact(f"before {secret} after")
    assert "before " in reported
    assert "[redacted]" in reported
    assert secret[-12:] not in reported
    assert "MHcC" not in reported


def test_a_kid_may_be_seen_and_ordinary_words_stay() -> None:
    assert redact(f"key {KEY}") == "key nv_k1d2_[redacted]"
    assert redact("nv_kid of env_variables and netvps-vps-0123") == "nv_kid of env_variables and netvps-vps-0123"


def test_lines_are_json_off_a_terminal(output: io.StringIO) -> None:
    structlog.get_logger().info("joined", runner="box1", n=3)
    (line,) = _lines(output)
    assert (line["event"], line["runner"], line["n"], line["program"], line["level"]) == (
        "joined",
        "box1",
        3,
        "test",
        "info",
    )


def test_no_secret_gets_through_by_any_way(output: io.StringIO) -> None:
    structlog.get_logger().info(KEY, value=KEY, nested={"a": [KEY, b"x " + KEY.encode()]}, obj=ValueError(KEY))
    logging.getLogger("library").warning("got %s", TOKEN)
    try:
        int(KEY)
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "c2VjcmV0" not in output.getvalue()
    assert len(_lines(output)) == 3


def test_the_standard_library_comes_along_and_debug_does_not(output: io.StringIO) -> None:
    logging.getLogger("library").info("hello")
    logging.getLogger("asyncssh").info("chatter")
    structlog.get_logger().debug("details")
    assert [line["event"] for line in _lines(output)] == ["hello"]


def test_no_line_is_long_and_no_session_floods_the_log(output: io.StringIO) -> None:
    for _ in range(2000):
        structlog.get_logger().info("dial failed", session="s1", reason="x" * 3_000_000)
    logging.getLogger("library").warning("y" * 3_000_000)
    structlog.get_logger().info("ssh login", session="s1", user="alice")
    lines = _lines(output)
    assert lines[-1]["event"] == "ssh login"
    assert max(map(len, output.getvalue().splitlines())) < 3000
    assert len(output.getvalue()) < 200_000


def test_a_truncated_secret_does_not_remain(output: io.StringIO) -> None:
    """Redaction comes first: what is left of a secret at the end of a long value would look like none."""
    for left in (8, 11, 14):
        structlog.get_logger().info("long", value="x" * (1999 - left) + " " + KEY)
    structlog.get_logger().info("nested", value={KEY: {"deep": {KEY: 1}}})
    assert "c2V" not in output.getvalue()
    assert output.getvalue().count("[redacted]") >= 2


@pytest.mark.parametrize(("form", "is_json"), [("console", False), ("json", True), ("auto", True), ("", True)])
def test_the_format_can_be_chosen(monkeypatch: pytest.MonkeyPatch, form: str, is_json: bool) -> None:
    monkeypatch.setenv("NETVPS_LOG_FORMAT", form)
    with _set_up() as stream:
        structlog.get_logger().info("joined", runner="box1", key=KEY)
    line = stream.getvalue()
    assert line.startswith("{") == is_json
    assert "joined" in line
    assert "c2VjcmV0" not in line
    assert "\x1b" not in line


def test_an_unknown_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_LOG_FORMAT", "jsn")
    with pytest.raises(ConfigError, match="NETVPS_LOG_FORMAT: 'jsn' is wrong: give auto, console or json"):
        set_up("test", stream=io.StringIO())
