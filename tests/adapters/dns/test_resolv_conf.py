"""What resolv.conf says, now."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.dns import resolv_conf
from netvps.adapters.dns.resolv_conf import ResolvConf, parse


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n", ("127.0.0.53",)),
        ("# x\nnameserver\t192.0.2.1 \n  nameserver 2001:db8::1\n", ("192.0.2.1", "2001:db8::1")),
        ("nameserver fe80::1%eth0", ("fe80::1%eth0",)),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n", ("192.0.2.1", "192.0.2.2")),
        ("".join(f"nameserver 192.0.2.{n}\n" for n in range(5)), ("192.0.2.0", "192.0.2.1", "192.0.2.2")),
        ("nameserver example.org\nnameserver\n#nameserver 192.0.2.1\n", ("127.0.0.1",)),
        ("", ("127.0.0.1",)),
    ],
)  # fmt: skip
def test_servers_of_a_file(text: str, servers: tuple[str, ...]) -> None:
    assert parse(text) == servers


@given(st.text())
def test_any_text_names_some(text: str) -> None:
    assert 1 <= len(parse(text)) <= 3


async def test_a_file_that_changes_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolv_conf, "_LOOK_EVERY", 0.0)
    path = tmp_path / "resolv.conf"
    conf = ResolvConf(path)
    assert await conf.servers(without=()) == ("127.0.0.1",)
    path.write_text("nameserver 192.0.2.1\nnameserver 10.128.4.1\n")
    assert await conf.servers(without=()) == ("192.0.2.1", "10.128.4.1")
    assert await conf.servers(without={"10.128.4.1"}) == ("192.0.2.1",)
    other = tmp_path / "new"
    other.write_text("nameserver 192.0.2.9\n")
    other.rename(path)
    assert await conf.servers(without=()) == ("192.0.2.9",)
    path.unlink()
    assert await conf.servers(without=()) == ("192.0.2.9",)


async def test_it_is_not_looked_at_for_every_question(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    conf = ResolvConf(path)
    await conf.servers(without=())
    path.write_text("nameserver 192.0.2.2\n")
    assert await conf.servers(without=()) == ("192.0.2.1",)
