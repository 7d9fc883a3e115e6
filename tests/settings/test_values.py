from __future__ import annotations

import pytest

from netvps.errors import ConfigError
from netvps.settings import RunnerSettings, ServerSettings, load
from netvps.settings.values import own_name


@pytest.mark.parametrize("address", ["host", "host:", ":7443", "host:0", "host:65536"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        load(RunnerSettings, {"server": address})


@pytest.mark.parametrize("balancers", ["0.0.0.0/0", "::/0", "192.0.2.1/24", "example.org"])
def test_a_load_balancer_is_an_address_or_a_network_and_not_everybody(balancers: str) -> None:
    assert (
        load(ServerSettings, {"ssh_balancers": "192.0.2.1, 2001:db8::/64"}).ssh_balancers == "192.0.2.1,2001:db8::/64"
    )
    with pytest.raises(ConfigError, match=r"ssh_balancers: '.*' is wrong: "):
        load(ServerSettings, {"ssh_balancers": balancers})


def test_a_runner_has_the_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Big_Box.example")
    assert own_name() == load(RunnerSettings, {}).name == "big-box"


def test_an_idle_time_is_long_or_none() -> None:
    for name in ("idle_pause", "idle_stop"):
        assert [getattr(load(ServerSettings, {name: value}), name) for value in ("0", "30")] == [0, 30]
        for value in ("1", "29.9", "1e9"):
            with pytest.raises(ConfigError, match=rf"{name}: .* is wrong: give 30 to"):
                load(ServerSettings, {name: value})
