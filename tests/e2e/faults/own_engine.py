"""A Docker engine of a test's own: to be killed, restarted and filled, while the shared one notices nothing.

It lives in a network namespace of its own, so that its bridges and its firewall are its own. Sessions reach the
gateway through the sockets in their folders, so that they need no way out of there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.images import busybox_archive, import_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMAGE = "busybox:latest"


class Engine:
    """One that is there."""

    environment: Mapping[str, str] = {}
    """Of programs that use it."""

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Runs docker on it, returns what it prints."""
        answer = subprocess.run(
            ["docker", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert answer.returncode == 0 or not check, answer.stderr
        return answer.stdout if answer.returncode == 0 else ""


def shared_engine() -> Engine:
    """That of the machine."""
    return Engine()


class OwnEngine(Engine):
    """dockerd on folders of its own; `disk` is the size in MiB of a tmpfs for its data, 0 for the real disk.

    With `quotas` it is a file system with quotas in a file: xfs or btrfs. Raises CalledProcessError where that cannot
    be made or mounted, which leaves an empty folder.
    """

    def __init__(self, *, disk: int = 0, quotas: str = "", live_restore: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nvd-"))
        self.data = self.folder / "data"
        self.socket = self.folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.environment = {"DOCKER_HOST": self.host}
        self._ballast = self.data / "ballast"
        self._namespace = f"nvd-{secrets.token_hex(3)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._flags = ["--live-restore"] if live_restore else []
        self.data.mkdir()
        if quotas:
            file = self.folder / "disk"
            _run("truncate", "-s", f"{disk}M", file)
            _run(f"mkfs.{quotas}", "-q", file)
            _run("mount", "-o", "loop,pquota" if quotas == "xfs" else "loop", file, self.data)
        elif disk:
            _run("mount", "-t", "tmpfs", "-o", f"size={disk}m", "nvd", self.data)
        self._make_namespace()

    def _make_namespace(self) -> None:
        _run("ip", "netns", "add", self._namespace)
        _run("ip", "-n", self._namespace, "link", "set", "lo", "up")

    def start(self, *, wait: bool = True) -> None:
        """Starts it; with `wait` until it answers."""
        folder = self.folder
        # `ip netns exec` would remount /sys and hide the cgroups.
        enter = ["nsenter", f"--net=/run/netns/{self._namespace}"]
        places = [f"--data-root={self.data}", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*enter, "dockerd", *places, "-H", self.host, "--bip", "172.29.0.1/24", *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            deadline = time.monotonic() + 60
            while not self.answers():
                assert self._process.poll() is None, (folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "the engine does not come up"
                time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it does."""
        return self.docker("version", check=False) != ""

    def import_busybox(self) -> str:
        """Gives it an image; its name."""
        import_image(busybox_archive(), IMAGE, self.host)
        return IMAGE

    def kill(self) -> None:
        """kill -9, its containerd too; its containers live on."""
        self._end(signal.SIGKILL)
        file = self.folder / "exec/containerd/containerd.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
        # Where nothing reaps it, dockerd would take what is left of it for one that runs, and wait for that.
        file.unlink(missing_ok=True)

    def kill_all(self) -> None:
        """kill -9, and its shims too, so that what runs in its containers has no parent left that knows of it."""
        self.kill()
        self._end_leftovers()

    def power_off(self) -> None:
        """As if its machine had no power: nothing of it runs, nothing is mounted, and what is in /run is gone."""
        self.kill_all()
        for pid in self._inside_containers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._unmount(keep=self.data)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        for left in (self.socket, self.folder / "pid"):
            left.unlink(missing_ok=True)
        _run("ip", "netns", "delete", self._namespace)
        self._make_namespace()

    def stop(self) -> None:
        """In order."""
        self._end(signal.SIGTERM)

    def fill(self, leave: int = 0) -> None:
        """Leaves only so many bytes free on its disk, which it may be writing to itself."""
        with self._ballast.open("ab") as file:
            piece = shutil.disk_usage(self.data).free - leave
            while piece > 0 and shutil.disk_usage(self.data).free > leave:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), piece)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    piece //= 2

    def make_room(self) -> None:
        """Takes `fill` back."""
        self._ballast.unlink(missing_ok=True)

    @contextlib.contextmanager
    def full(self, leave: int = 0) -> Iterator[None]:
        """Its disk is full except for this many bytes, as long as the block lasts."""
        try:
            self.fill(leave)
            yield
        finally:
            self.make_room()

    def destroy(self) -> None:
        """Ends it and what runs in it, and removes all that it made."""
        if self._process is not None and self._process.poll() is None and self.answers():
            for container in self.docker("ps", "-aq", check=False).split():
                self.docker("rm", "-f", container, check=False)
        self.stop()
        inside = subprocess.run(["ip", "netns", "pids", self._namespace], capture_output=True, text=True, check=False)
        for pid in inside.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._end_leftovers()
        _run("ip", "netns", "delete", self._namespace)
        self._unmount()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _unmount(self, keep: Path | None = None) -> None:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.folder}/")), reverse=True):
            if keep is None or Path(mount) != keep:
                subprocess.run(["umount", "-l", mount], check=False)

    def _inside_containers(self) -> list[int]:
        """Processes whose root is one of its containers'; the fifth field of mountinfo(5) is a mount point."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
                if any(mount[4] == "/" and f"{self.data}/" in mount[-1] for mount in mounts):
                    found.append(int(process.name))
        return found

    def _end_leftovers(self) -> None:
        """What carries our folder in its command line: containerd and shims of an engine that was killed."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{self.folder}/exec".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=30)
