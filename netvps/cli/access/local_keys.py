"""The SSH keys of this person on this machine: found, or made here, and never more than their public half sent away."""

from __future__ import annotations

import base64
import binascii
import getpass
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.cli.ui.output import note
from netvps.domain.access.ssh_key import PublicKey
from netvps.errors import AlreadyExists, ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from netvps.client import Client

_USUAL: Final = ("id_ed25519", "id_ecdsa", "id_rsa")
_OWN: Final = "netvps_ed25519"
_SECONDS: Final = 10.0
_UNENCRYPTED: Final = b"openssh-key-v1\0\0\0\0\x04none"


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A key that this person can use here: in a file, whose private half `file` is, or in the ssh-agent alone."""

    public: PublicKey
    file: Path | None
    prompts: bool
    """ssh asks for its passphrase, or for a touch, at each login."""

    @property
    def origin(self) -> str:
        """Where it is, for people."""
        return str(self.file) if self.file else "in your ssh-agent"


def usable_key(client: Client, registered: Collection[str]) -> LocalKey:
    """A key that the server knows, and that ssh can use here without asking: found, registered, or made.

    `registered` are fingerprints. Those keys go first, and files go before the ssh-agent, which may be gone tomorrow.
    Raises ConfigError.
    """
    found = [key for key in local_keys() if not key.prompts]
    for key in found:
        if key.public.fingerprint in registered:
            return key
    for key in found:
        if _registered(client, key.public, key.origin):
            return key
    file = generate()
    public = read(file)
    client.create_ssh_key(f"{public.text} {public.comment}".strip())
    private = file.with_suffix("")
    note(f"made an SSH key for you, {private}, and registered its public half ({public.fingerprint})")
    return LocalKey(public, private, prompts=False)


def local_keys() -> list[LocalKey]:
    """Keys in files, usual ones first, then those that only the ssh-agent has."""
    agent = {key.fingerprint: key for key in _parsed(_agent_keys())}
    found: list[LocalKey] = []
    for name in _names():
        file = _folder() / name
        try:
            public = read(file.with_suffix(".pub"))
            encrypted = is_encrypted(file.read_bytes())
        except (InvalidInput, ConfigError, OSError):
            continue
        in_agent = agent.pop(public.fingerprint, None) is not None
        found.append(LocalKey(public, file, prompts=_touched(public) or (encrypted and not in_agent)))
    return found + [LocalKey(key, None, prompts=_touched(key)) for key in agent.values()]


def is_encrypted(private_key: bytes) -> bool:
    """Whether a private key needs a passphrase: OpenSSH's form (PROTOCOL.key) names its cipher, PEM has a header."""
    header, _, rest = private_key.partition(b"\n")
    if b"OPENSSH PRIVATE KEY" not in header:
        return b"ENCRYPTED" in private_key
    try:
        return not base64.b64decode(rest[:64]).startswith(_UNENCRYPTED)
    except binascii.Error:
        return True


def any_registered(client: Client) -> bool:
    """Whether the server knows a key of this person."""
    return next(client.list_ssh_keys(), None) is not None


def register(client: Client) -> None:
    """Registers a key of this person: a usual one, one of the agent, or a new one."""
    for origin, key in candidates():
        if _registered(client, key, origin):
            return
    file = generate()
    key = read(file)
    client.create_ssh_key(f"{key.text} {key.comment}".strip())
    note(f"made an SSH key for you, {file.with_suffix('')}, and registered its public half ({key.fingerprint})")


def _registered(client: Client, key: PublicKey, origin: str) -> bool:
    try:
        client.create_ssh_key(f"{key.text} {key.comment}".strip())
    except AlreadyExists:
        return False  # on a shared account it can be the key of another user
    note(f"registered your SSH key {key.fingerprint} ({origin})")
    return True


def candidates() -> Iterator[tuple[str, PublicKey]]:
    """Where each key is, and its public half; unreadable ones are passed over."""
    for name in _names():
        file = _folder() / f"{name}.pub"
        try:
            yield str(file), read(file)
        except (InvalidInput, ConfigError):
            continue
    for key in _parsed(_agent_keys()):
        yield "in your ssh-agent", key


def matching_files(fingerprints: Collection[str]) -> list[Path]:
    """Private keys of this person whose public halves have one of the fingerprints, usual ones first."""
    found = []
    for name in _names():
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


def generate(file: Path | None = None) -> Path:
    """Makes a key pair, by default in ~/.ssh, and returns the public half's file. Raises ConfigError."""
    if file is None:
        numbers = ("", *(f"_{number}" for number in range(2, 100)))  # one that exists is of another user of that server
        file = next(file for number in numbers if not (file := _folder() / f"{_OWN}{number}").exists())
    else:
        file.unlink(missing_ok=True)  # half of a pair
    program = shutil.which("ssh-keygen")
    if program is None:
        raise ConfigError("you have no SSH key, and there is no ssh-keygen to make one: install openssh-client")
    comment = f"netvps {getpass.getuser()}@{socket.gethostname()}"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def _names() -> list[str]:
    """Names of private keys, usual ones first."""
    return [*_USUAL, *sorted(file.stem for file in _folder().glob(f"{_OWN}*.pub"))]


def _parsed(lines: Iterable[str]) -> Iterator[PublicKey]:
    for line in lines:
        try:
            yield PublicKey.parse(line)
        except InvalidInput:
            continue


def _touched(key: PublicKey) -> bool:
    return key.text.startswith("sk-")


def _folder() -> Path:
    return Path.home() / ".ssh"
