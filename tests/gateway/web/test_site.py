from __future__ import annotations

import pytest

from netvps.errors import ConfigError
from netvps.gateway.web.site import listen_address, site


def test_on_loopback_it_is_known_by_the_names_of_loopback_and_by_no_other() -> None:
    found = site("127.0.0.1", 7490, tls=False)
    assert (found.url, found.path) == ("http://127.0.0.1:7490/", "/")
    for host in ("127.0.0.1:7490", "localhost:7490", "LOCALHOST:7490", "[::1]:7490"):
        assert found.knows_host(host)
        assert found.knows_origin(f"http://{host}")
    for host in (
        "",
        "127.0.0.1",
        "127.0.0.1:7491",
        "localhost.evil.example:7490",
        "evil.example:7490",
        "10.0.0.1:7490",
    ):
        assert not found.knows_host(host)
        assert not found.knows_origin(f"http://{host}")
    for origin in (None, "", "null", "https://127.0.0.1:7490", "http://127.0.0.1:7490/", "http://127.0.0.1:7490.evil"):
        assert not found.knows_origin(origin)


def test_a_public_url_adds_its_name_and_its_path() -> None:
    found = site("127.0.0.1", 7490, tls=False, public_url="https://vps.example.org/netvps")
    assert (found.url, found.path) == ("https://vps.example.org/netvps/", "/netvps/")
    assert found.knows_host("vps.example.org")
    assert found.knows_host("127.0.0.1:7490"), "a proxy may ask by this name"
    assert found.knows_origin("https://vps.example.org")
    assert not found.knows_origin("http://vps.example.org")
    assert site("127.0.0.1", 1, tls=False, public_url="https://[2001:db8::1]:8443").knows_host("[2001:db8::1]:8443")


def test_other_addresses_are_served_with_tls_by_one_name() -> None:
    found = site("192.0.2.1", 443, tls=True, public_url="https://vps.example.org")
    assert found.origins == {"https://vps.example.org"}
    for options in ({"tls": False}, {"tls": True}, {"tls": False, "public_url": "https://vps.example.org"}):
        with pytest.raises(ConfigError, match=r"--listen 0\.0\.0\.0: other machines reach it only with TLS"):
            site("0.0.0.0", 7490, **options)


@pytest.mark.parametrize(
    "url",
    [
        *("http://vps.example.org", "vps.example.org", "https://", "https://a:b@vps.example.org", "https://x/?a=1"),
        *("https://x/#a", "https://x:99999", "https://[x", "javascript:alert(1)", "https://ü.example", "https://x\n/"),
        "https://" + "x" * 600,
    ],
)
def test_what_is_no_public_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--public-url"):
        site("127.0.0.1", 7490, tls=False, public_url=url)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:1", ("127.0.0.1", 1)), ("localhost:7490", ("127.0.0.1", 7490)), ("[::1]:65535", ("::1", 65535))],
)
def test_addresses_to_listen_on(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":1", "7490", "::1:7490", "127.0.0.1:0", "127.0.0.1:65536", "x:1", "[1.2.3.4:1", "[]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        listen_address(text)


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["1.1.1.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["rubbish"], "rubbish"),
    ],
)
def test_only_listed_proxies_say_where_a_request_comes_from(peer: str, forwarded: list[str], source: str) -> None:
    assert site("127.0.0.1", 1, tls=False, proxies=["127.0.0.1", "10.0.0.2"]).source(peer, forwarded) == source


def test_a_proxy_is_an_address() -> None:
    with pytest.raises(ConfigError, match="--trusted-proxy: 'caddy' is no IP address"):
        site("127.0.0.1", 1, tls=False, proxies=["caddy"])
