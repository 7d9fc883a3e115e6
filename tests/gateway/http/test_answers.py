"""Answers of the gateway: pages for people, lines for programs, and nothing of a request as HTML."""

from __future__ import annotations

import pytest

from netvps.gateway.http.answers import Answer, explained, is_navigation, page, redirect
from netvps.gateway.http.cookies import cookie_header, cookie_name, cookie_of, without_cookie
from netvps.gateway.http.head import parse_request
from tests.gateway.http.conftest import SITE
from tests.gateway.http.test_head import GET, lines


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("Sec-Fetch-Mode: navigate",), True),
        (("Sec-Fetch-Mode: cors", "Accept: text/html"), False),
        (("Accept: text/html,*/*",), True),
        (("Accept: */*",), False),
        (("Accept: text/html", "Connection: Upgrade", "Upgrade: websocket"), False),
    ],
)
def test_who_gets_a_page(headers: tuple[str, ...], expected: bool) -> None:
    assert is_navigation(parse_request(lines(*GET, *headers))) is expected


def test_what_is_said_is_escaped_in_a_page() -> None:
    person = parse_request(lines(*GET, "Accept: text/html"))
    assert b"<p>&lt;script&gt;</p>" in explained(person, 404, "not found", "<script>").content
    assert explained(None, 404, "not found", "<script>").content == b"not found: <script>\n"
    assert b"<title>&lt;b&gt;" in page(200, "<b>", "").content


def test_an_answer_is_complete_and_ends_the_connection() -> None:
    encoded = Answer(503, b"later\n", (("Retry-After", "1"),)).encode()
    head, _, body = encoded.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
    assert b"Content-Length: 6" in head
    assert b"Connection: close" in head
    assert body == b"later\n"
    assert Answer(503, b"later\n").encode(without_body=True).endswith(b"Content-Length: 6\r\n\r\n")
    assert redirect("/x").encode().startswith(b"HTTP/1.1 303 See Other\r\nLocation: /x\r\n")


def test_the_own_cookie_is_found_set_and_removed() -> None:
    head = parse_request(lines(*GET, "Cookie: a=1; netvps=mine; b=2", "Cookie: netvps2=x"))
    assert cookie_of(head, cookie_name(SITE)) == "mine"
    assert cookie_of(head, "none") == ""
    assert without_cookie(head, cookie_name(SITE)) == b"a=1; b=2; netvps2=x"
    assert without_cookie(parse_request(lines(*GET, "Cookie: netvps=mine")), "netvps") == b""
    assert cookie_header(SITE, "")[1] == "netvps=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
