from __future__ import annotations

from netvps.adapters.netlink.announcement import announce, frame


def test_an_announcement_asks_all_for_the_address_that_it_is_from() -> None:
    mac = bytes.fromhex("02420a800001")
    assert frame(mac, "10.128.0.9").hex(" ", 6) == (
        "ffffffffffff 02420a800001 080600010800 060400010242 0a8000010a80 000900000000 00000a800009"
    )


def test_what_cannot_be_announced_is_said() -> None:
    why = announce("no-such-link", "10.128.0.9")
    assert why.startswith("cannot announce 10.128.0.9 on no-such-link: ")
