"""Names in the server's certificate."""

from __future__ import annotations

import socket

import pytest

from netvps.adapters.netlink import own_addresses as module
from netvps.errors import ConfigError
from netvps.programs.wiring.network.served_names import served_names
from netvps.settings import ServerSettings, load


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_addresses", lambda: ["10.0.0.5", "127.0.0.1", "::1"])
    monkeypatch.setattr(socket, "gethostname", lambda: "Box1")


def test_loopback_is_known_to_this_machine_alone() -> None:
    assert served_names((), "127.0.0.1") == ("127.0.0.1",)


def test_one_address_and_the_machines_name() -> None:
    assert served_names(("vps.example.org",), "10.0.0.5") == ("vps.example.org", "10.0.0.5", "box1")


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
def test_all_addresses(listen: str) -> None:
    assert served_names(("10.0.0.5", "x"), listen) == ("10.0.0.5", "x", "127.0.0.1", "::1", "box1")


def test_a_machine_whose_name_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my_box")
    assert served_names((), "10.0.0.5") == ("10.0.0.5",)


def test_a_machine_of_many_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_addresses", lambda: [f"10.0.{n // 250}.{n % 250}" for n in range(500)])
    assert len(served_names(("vps.example.org",), "0.0.0.0")) == 100


@pytest.mark.parametrize("given", ["a.example,10.0.0.1", " a.example , 10.0.0.1,a.example", ["a.example", "10.0.0.1"]])
def test_the_setting_is_a_list_with_commas(given: object) -> None:
    assert load(ServerSettings, {"public_name": given}).public_names == ("a.example", "10.0.0.1")


@pytest.mark.parametrize(
    "wrong", ["*.example.org", "a b", "http://x", "vps.example.org:7443", "10.0.0.300", "-x", "x" * 254]
)
def test_what_is_no_name_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="is neither a host name nor an IP address: give for example vps"):
        load(ServerSettings, {"public_name": wrong})
