"""The account that runs a program, as a user of netvps."""

from __future__ import annotations

import os
import pwd

from netvps.domain.names import USER_NAME_MAX, label_from


def user_name(uid: int | None = None) -> str:
    """The account's name as a user name: a DNS label; "u1000" if the account has no name."""
    uid = os.geteuid() if uid is None else uid
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    return label_from(name, f"u{uid}", USER_NAME_MAX)


def local_users() -> dict[int, str]:
    """The users of the local socket by uid: this account, and root, which could become this account anyway."""
    name = user_name()
    return {os.geteuid(): name, 0: name}
