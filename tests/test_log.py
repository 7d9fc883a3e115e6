from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from netvps.log import redact, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "nv_k1d2_c2VjcmV0c2VjcmV0c2VjcmV0"
TOKEN = "nvj_k1d2_c2VjcmV0c2VjcmV0_0123456789abcdef"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIE\n-----END EC PRIVATE KEY-----"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    set_up("test", stream=stream)
    yield stream
    logging.basicConfig(handlers=handlers, level=level, force=True)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


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
