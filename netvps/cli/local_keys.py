"""The SSH keys of this person on this machine: found, or made here, and never more than their public half sent away."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.cli.output import note
from netvps.domain.ssh_key import PublicKey
from netvps.errors import AlreadyExists, ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from netvps.rpc.client import Client

_USUAL: Final = ("id_ed25519", "id_ecdsa", "id_rsa")
_OWN: Final = "netvps_ed25519"
_SECONDS: Final = 10.0


def any_registered(client: Client) -> bool:
    """Whether the server knows a key of this person."""
    return next(client.list_ssh_keys(), None) is not None


def register(client: Client) -> None:
    """Registers a key of this person: a usual one, one of the agent, or a new one."""
    for origin, key in candidates():
        try:
            client.create_ssh_key(f"{key.text} {key.comment}".strip())
        except AlreadyExists:
            continue  # on a shared account it can be the key of somebody else
        note(f"registered your SSH key {key.fingerprint} ({origin})")
        return
    file = generate()
    key = read(file)
    client.create_ssh_key(f"{key.text} {key.comment}".strip())
    note(f"made an SSH key for you, {file.with_suffix('')}, and registered its public half ({key.fingerprint})")


def candidates() -> Iterator[tuple[str, PublicKey]]:
    """Where each key is, and its public half; unreadable ones are passed over."""
    for name in (*_USUAL, _OWN):
        file = _folder() / f"{name}.pub"
        try:
            yield str(file), read(file)
        except (InvalidInput, ConfigError):
            continue
    for line in _agent_keys():
        try:
            yield "in your ssh-agent", PublicKey.parse(line)
        except InvalidInput:
            continue


def matching_files(fingerprints: Collection[str]) -> list[Path]:
    """Private keys of this person whose public halves have one of the fingerprints, usual ones first."""
    found = []
    for name in (*_USUAL, _OWN):
        file = _folder() / name
        try:
            if file.exists() and read(file.with_suffix(".pub")).fingerprint in fingerprints:
                found.append(file)
        except (InvalidInput, ConfigError):
            continue
    return found


def matching_agent_key(fingerprints: Collection[str]) -> PublicKey | None:
    """A key of the ssh-agent that has one of the fingerprints."""
    for line in _agent_keys():
        try:
            if (key := PublicKey.parse(line)).fingerprint in fingerprints:
                return key
        except InvalidInput:
            continue
    return None


def own_files() -> list[Path]:
    """Private keys to name on ssh's command line: none, unless there is one of our making.

    A key named there takes the place of the usual ones, so they are named as well.
    """
    own = _folder() / _OWN
    if not own.exists():
        return []
    return [file for name in (*_USUAL, _OWN) if (file := _folder() / name).exists()]


def read(file: Path) -> PublicKey:
    """The public key in a file. Raises ConfigError, InvalidInput."""
    try:
        return PublicKey.parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"SSH key {file} cannot be read: {error}") from None


def generate() -> Path:
    """Makes a key pair and returns the public half's file. Raises ConfigError."""
    file = _folder() / _OWN
    program = shutil.which("ssh-keygen")
    if program is None:
        raise ConfigError("you have no SSH key, and there is no ssh-keygen to make one: install openssh-client")
    comment = f"netvps {getpass.getuser()}@{socket.gethostname()}"
    try:
        _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        subprocess.run(
            [program, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)],
            check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"cannot make an SSH key {file}: {error}; `netvps key add FILE` takes one of yours") from None
    return file.with_suffix(".pub")


def _agent_keys() -> list[str]:
    program = shutil.which("ssh-add")
    if program is None:
        return []
    try:
        found = subprocess.run(
            [program, "-L"], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return []  # no agent, or no keys in it
    return found.stdout.splitlines()


def _folder() -> Path:
    return Path.home() / ".ssh"
