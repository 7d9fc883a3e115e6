from __future__ import annotations

from pathlib import Path

from netvps.adapters.netlink.privilege import may_enter_namespaces, unprivileged


def test_who_may_change_the_network(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nCapEff:\t0000000000001000\n")
    assert unprivileged(status) == ""
    status.write_text("Name:\tpython\nCapEff:\t0000000000000400\n")
    assert "CAP_NET_ADMIN" in unprivileged(status)


def test_who_may_change_the_network_of_containers(tmp_path: Path) -> None:
    status = tmp_path / "status"
    for capabilities, may in (("201000", True), ("1000", False), ("200000", False)):
        status.write_text(f"Name:\tpython\nCapEff:\t{capabilities:0>16}\n")
        assert may_enter_namespaces(status) is may
