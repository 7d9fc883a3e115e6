"""Writes what netvps adds to a person's OpenSSH client configuration, and removes it again."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.cli.access import ssh_config
from netvps.cli.access.ssh_config import Files, Gateway
from netvps.cli.server import contexts
from netvps.errors import ConfigError, Unavailable
from netvps.files import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK_SECONDS: Final = 5.0
_LOCK_PAUSE: Final = 0.02


class SshFiles:
    """The gateways that this person's ssh knows: kept in netvps' own folder, from which the files in ~/.ssh are made.

    Each change is made under a lock, so that two commands at once lose nothing of each other's.
    """

    def __init__(self) -> None:
        self._ssh = Path.home() / ".ssh"
        self._state = contexts.config_folder() / "ssh.json"
        self.files = Files.of(self._ssh)

    @property
    def own(self) -> Path:
        """The person's own configuration file."""
        return self._ssh / "config"

    def known(self) -> dict[str, Gateway]:
        """Gateways by context. A file that cannot be read counts as none: it is made again."""
        return self._read()[0]

    def switched_off(self) -> bool:
        """Whether the person removed them, and did not set them up since."""
        return self._read()[1]

    def put(self, gateway: Gateway) -> bool:
        """Adds or replaces the gateway of a context; returns whether the Include line is new. Raises ConfigError."""
        with self.locked():
            return self._write(self._read()[0] | {gateway.context: gateway})

    def drop(self, context: str) -> None:
        """Removes the gateway of a context, if there is one. Raises ConfigError."""
        if context not in self.known():
            return
        with self.locked():
            gateways = self._read()[0]
            gateways.pop(context, None)
            if gateways:
                self._write(gateways)
            else:
                self._erase()
                self._state.unlink(missing_ok=True)

    def reorder(self) -> None:
        """Makes the files again for the context that is chosen now. Raises ConfigError."""
        if self.known():
            with self.locked():
                self._write(self._read()[0])

    def remove(self) -> bool:
        """Removes all of it, and lets no command set it up by itself; returns whether there was any."""
        with self.locked():
            found = self._erase()
            contexts.write_private(self._state, json.dumps({"off": True, "gateways": []}) + "\n")
            return found

    def _erase(self) -> bool:
        _require_own(self._ssh)
        before = _read(self.own)
        after = ssh_config.without_include(before, ssh_config.include_line(self.files))
        if after != before and not after:
            self.own.unlink(missing_ok=True)
        elif after != before:
            _replace(self.own, after)
        found = self.files.config.exists()
        for file in (self.files.config, self.files.sessions, self.files.known_hosts):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.files.config.parent.rmdir()
        return found or after != before

    def _read(self) -> tuple[dict[str, Gateway], bool]:
        try:
            content = json.loads(self._state.read_text(encoding="utf-8"))
            read = [Gateway(**entry | {key: tuple(entry[key]) for key in ("names", "sessions")})
                    for entry in content["gateways"]]  # fmt: skip
            return {gateway.context: gateway for gateway in read}, bool(content["off"])
        except (OSError, ValueError, TypeError, KeyError):
            return {}, False

    def _write(self, gateways: dict[str, Gateway]) -> bool:
        _require_own(self._ssh)
        line = ssh_config.include_line(self.files)
        chosen = contexts.chosen()
        ordered = sorted(gateways.values(), key=lambda gateway: gateway.context != chosen)
        texts = {
            self.files.known_hosts: ssh_config.known_hosts_text(ordered),
            self.files.sessions: ssh_config.sessions_text(ordered, self.files),
            self.files.config: ssh_config.config_text(ordered, self.files, _program()),
        }
        contexts.write_private(self._state, json.dumps({"off": False, "gateways": [asdict(each) for each in ordered]}))
        self._ssh.mkdir(mode=0o700, exist_ok=True)
        for file, text in texts.items():
            if _read(file) != text.encode():
                contexts.write_private(file, text)
        before = _read(self.own)
        after = ssh_config.with_include(before, line)
        if after != before:
            _replace(self.own, after)
        return after != before

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other commands of this person from changing keys and files. Raises Unavailable, ConfigError."""
        lock = self._state.parent
        try:
            lock.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(
                f"{lock} cannot be opened: {error.strerror}; set NETVPS_CONFIG_DIR to a folder of yours"
            ) from None
        try:
            end = time.monotonic() + _LOCK_SECONDS
            while not _try_lock(descriptor):
                if time.monotonic() > end:
                    raise Unavailable(f"another netvps holds {lock}: end it (fuser {lock}), then run netvps config-ssh")
                time.sleep(_LOCK_PAUSE)
            yield
        except OSError as error:
            raise ConfigError(
                f"the configuration of ssh cannot be written: {error}; make it writable, or use --no-config-ssh"
            ) from None
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_own(ssh: Path) -> None:
    """Raises ConfigError for the home of another account: ssh refuses files there that are not its owner's."""
    for folder in (ssh, ssh.parent):
        try:
            owner = folder.stat().st_uid
        except FileNotFoundError:
            continue
        if owner != os.geteuid():
            raise ConfigError(
                f"{folder} belongs to another account (uid {owner}): run this as that account, or set HOME"
            )
        return


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def _replace(file: Path, content: bytes) -> None:
    """Replaces the person's file as a whole; it keeps its mode and owner, and a symbolic link stays one."""
    target = file.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        before = target.stat()
    except FileNotFoundError:
        write_file(target, content)
    else:
        write_file(target, content, stat.S_IMODE(before.st_mode), (before.st_uid, before.st_gid))


def _program() -> str:
    """Where `netvps` is, for ssh to run it; '' if it is not on the PATH."""
    import shutil

    return shutil.which("netvps") or ""
