from __future__ import annotations

from pathlib import Path

from netvps.adapters.netlink.privilege import unprivileged


def test_who_may_change_the_network(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nCapEff:\t0000000000001000\n")
    assert unprivileged(status) == ""
    status.write_text("Name:\tpython\nCapEff:\t0000000000000400\n")
    assert "CAP_NET_ADMIN" in unprivileged(status)
