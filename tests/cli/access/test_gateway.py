"""Where the gateway of a server is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.cli.access.gateway import address, plain_ssh
from netvps.cli.server.contexts import Context
from netvps.errors import Unavailable
from tests.cli.fake_client import INFO


@pytest.mark.parametrize(
    ("ssh_address", "api", "expected"),
    [
        (":2222", "unix:/x/api.sock", ("127.0.0.1", 2222)),
        (":2222", "vps.example:7443", ("vps.example", 2222)),
        (":2222", "[2001:db8::1]:7443", ("2001:db8::1", 2222)),
        ("gw.example:22", "vps.example:7443", ("gw.example", 22)),
        ("[2001:db8::2]:22", "vps.example:7443", ("2001:db8::2", 22)),
    ],
)
def test_where_the_gateway_is(ssh_address: str, api: str, expected: tuple[str, int]) -> None:
    info, context = replace(INFO, ssh_address=ssh_address), Context("x", api)
    assert address(info, context) == expected
    assert plain_ssh("dev1", info, context) == f"ssh dev1@{expected[0]} -p {expected[1]}"


@pytest.mark.parametrize("ssh_address", ["", "-oProxyCommand=x:22", "a b:22"])
def test_a_gateway_that_is_no_host_is_refused(ssh_address: str) -> None:
    with pytest.raises(Unavailable):
        address(replace(INFO, ssh_address=ssh_address), Context("x", "vps.example:7443"))
