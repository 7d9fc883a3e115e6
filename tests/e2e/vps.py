"""A session whose files are compared: filled with every kind of file, and read from its machine."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.docker_names import container_name
from tests.e2e.kills.faulty import until
from tests.e2e.system import docker, unique
from tests.support.manifest import manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.system import System

NO_ID: Final = 0xFFFFFFFF
ACL: Final = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, NO_ID), (2, 6, 4321), (4, 4, NO_ID), (16, 6, NO_ID), (32, 4, NO_ID))
)
CAPABILITY: Final = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service=ep (linux/capability.h)."""
TREES: Final = ("data/tree", "root/tree")
"""In a volume of the image, and in the container's own layer."""
SOCKET: Final = "root/socket"
"""Beside the trees: the one kind of file that a copy leaves out."""
VOLUME: Final = ('VOLUME ["/data"]',)
"""What the image of such a session declares; it also has a folder /old to rename, and a file /data/seed to remove."""
INSIDE: Final = r"""
mkdir -p /data/tree /root/tree
mv /old /root/tree/renamed
rm /data/seed
for folder in /data/tree /root/tree; do
    cd $folder
    echo one > a && ln a b && ln -s /nowhere link
    mkfifo pipe
    mkdir -p sticky/deep && chmod 3771 sticky && chown 7:8 sticky
    echo plan > plan && echo notes > .wh.plan && : > .wh..wh..opq
    truncate -s 4T hole && echo end >> hole
    echo x > 'two
lines' && echo x > ' space and \ ' && echo x > ./-rf && echo x > "$(printf 'bytes\377\376')"
    echo x > $(printf '%0255d' 7)
    chmod 4711 a
    touch -d '2001-02-03 04:05:06' b
done
"""


class Vps:
    """A session, looked at from its machine, whose engine `run_docker` asks."""

    def __init__(self, system: System, image: str, run_docker: Callable[..., str] = docker) -> None:
        self.system, self.image, self.name, self.docker = system, image, unique("s"), run_docker
        system.netvps("create", self.name, "--image", image)
        self.uid = str(self.shown()["uid"])

    def shown(self) -> dict[str, object]:
        shown: dict[str, object] = json.loads(self.system.netvps("show", self.name, "-o", "json").stdout)
        return shown

    def inside(self) -> Path:
        pid = self.docker("inspect", "-f", "{{.State.Pid}}", container_name(self.uid)).strip()
        return Path("/proc", pid, "root")

    def fill(self) -> dict[str, object]:
        """Makes files of every kind; returns their manifests."""
        self.system.ssh(self.name, INSIDE)
        for folder in TREES:
            _add_what_busybox_cannot(self.inside() / folder)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.inside() / SOCKET))
        return self.manifests()

    def manifests(self) -> dict[str, object]:
        return {folder: manifest(self.inside() / folder) for folder in TREES}

    def stop(self) -> None:
        """Stops it; returns when its files are copied."""
        self.system.netvps("stop", self.name)
        until("its files are copied", lambda: self.shown().get("reason") != "snapshot_pending")

    def start(self) -> None:
        self.system.netvps("start", self.name)

    def remove(self) -> None:
        self.system.netvps("rm", "--yes", self.name, check=False)

    def prune(self) -> None:
        """What `docker system prune -af --volumes` does, to what is of this session."""
        own = f"label=netvps.session_id={self.uid}"
        self.docker("container", "prune", "-f", "--filter", own)
        self.docker("volume", "prune", "-f", "--filter", own)
        self.docker("image", "prune", "-af", "--filter", own)
        self.docker("image", "prune", "-af", "--filter", f"label={self.image}")


def _add_what_busybox_cannot(tree: Path) -> None:
    for name, value in (("user.origin", b"lab7"), ("system.posix_acl_access", ACL)):
        os.setxattr(tree / "plan", name, value)
    os.setxattr(tree / "sticky", "system.posix_acl_default", ACL)
    os.setxattr(tree / "plan", "security.capability", CAPABILITY)
    os.mknod(tree / "null", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.utime(tree / "plan", ns=(1, 987_654_321_123_456_789))
    os.utime(tree / "link", ns=(1, 123_456_789), follow_symlinks=False)
