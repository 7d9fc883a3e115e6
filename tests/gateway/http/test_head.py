"""Heads are refused if two programs could read them in two ways, and are written in one form."""

from __future__ import annotations

import pytest

from netvps.gateway.http.head import HeadError, answer_bytes, parse_answer, parse_request, request_bytes


def lines(*texts: str) -> bytes:
    return "\r\n".join([*texts, "", ""]).encode("latin-1")


GET = ("GET /a?b=c HTTP/1.1", "Host: dev1.localhost:7481")


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (lines(*GET, "Content-Length: 5", "Transfer-Encoding: chunked"), "Transfer-Encoding"),
        (lines(*GET, "Content-Length: 5", "Content-Length: 5"), "2 headers content-length"),
        (lines(*GET, "Content-Length: 5", "content-length: 6"), "2 headers content-length"),
        (lines(*GET, "Content-Length: 5, 6"), "malformed"),
        (lines(*GET, "Content-Length: +5"), "malformed"),
        (lines(*GET, "Content-Length: 0x5"), "malformed"),
        (lines(*GET, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), "2 headers transfer-encoding"),
        (lines(*GET, "Transfer-Encoding: gzip, chunked"), "malformed"),
        (lines(*GET, "Transfer-Encoding: xchunked"), "malformed"),
        (lines("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"), "Transfer-Encoding"),
        (lines(*GET, "Host: other.localhost"), "2 headers host"),
        (lines("GET / HTTP/1.1", "A: b"), "Host"),
        (lines("GET / HTTP/1.0", "A: b"), "no Host"),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "CR LF"),
        (lines(*GET, "X: a", " folded"), "folded"),
        (lines(*GET, "X: a", "\tfolded"), "folded"),
        (lines(*GET, "Content-Length : 5"), "space before its colon"),
        (lines("GET http://other.localhost/ HTTP/1.1", "Host: a"), "begins with /"),
        (lines("CONNECT other:80 HTTP/1.1", "Host: a"), "begins with /"),
        (lines("GET * HTTP/1.1", "Host: a"), "begins with /"),
        (lines("GET / HTTP/2.0", "Host: a"), "HTTP/1"),
        (lines("GET /\x00 HTTP/1.1", "Host: a"), "malformed"),
        (lines(*GET, "X: \x00"), "malformed"),
        (lines("GET  / HTTP/1.1", "Host: a"), "malformed"),
        (b"\x16\x03\x01\r\n\r\n", "malformed"),
    ],
)
def test_refuses_what_is_ambiguous(head: bytes, why: str) -> None:
    with pytest.raises(HeadError, match=why) as refused:
        parse_request(head)
    assert 400 <= refused.value.status <= 505


def test_reads_a_request() -> None:
    head = parse_request(lines(*GET, "Content-Length: 5", "Accept: a", "Accept: b"))
    assert (head.method, head.target, head.path, head.host) == ("GET", "/a?b=c", "/a", "dev1.localhost")
    assert (head.framing.length, head.framing.chunked, head.upgrade) == (5, False, False)
    assert head.get(b"accept") == "a, b"


def test_a_request_is_written_without_what_belongs_to_the_connection() -> None:
    head = parse_request(
        lines(*GET, "Connection: keep-alive, X-Mine, Content-Length", "X-Mine: 1", "Keep-Alive: 5", "TE: trailers, x")
        .replace(b"GET", b"POST")
        .replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\nCookie: a=b\r\n\r\n")
    )
    written = request_bytes(head, [(b"x-forwarded-for", b"192.0.2.7")], frozenset({b"cookie"}))
    assert written == (
        b"POST /a?b=c HTTP/1.1\r\nhost: dev1.localhost:7481\r\ncontent-length: 3\r\nte: trailers\r\n"
        b"connection: close\r\nx-forwarded-for: 192.0.2.7\r\n\r\n"
    )


def test_an_upgrade_stays_one() -> None:
    head = parse_request(lines(*GET, "Connection: Upgrade", "Upgrade: websocket"))
    assert head.upgrade
    assert b"connection: Upgrade\r\nupgrade: websocket\r\n" in request_bytes(head, [], frozenset())
    answer = parse_answer(lines("HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: websocket"), head)
    assert answer.switches
    assert answer_bytes(answer).endswith(b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n")


def test_an_answer_ends_the_connection() -> None:
    head = parse_request(lines(*GET))
    answer = parse_answer(lines("HTTP/1.0 200 Fine", "Connection: keep-alive", "Content-Length: 7"), head)
    assert answer.framing.length == 7
    assert answer_bytes(answer) == b"HTTP/1.1 200 Fine\r\ncontent-length: 7\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_answers_have_no_body(method: str, status: int) -> None:
    head = parse_request(lines(*GET).replace(b"GET", method.encode(), 1))
    assert parse_answer(lines(f"HTTP/1.1 {status} X", "Content-Length: 7"), head).framing.length == 0


@pytest.mark.parametrize("answer", [b"hello\r\n\r\n", lines("HTTP/1.1 101 X", "Upgrade: websocket")])
def test_refuses_an_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(HeadError):
        parse_answer(answer, parse_request(lines(*GET)))
