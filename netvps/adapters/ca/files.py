"""The CA's directory: five files that are created together or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from netvps.errors import ConfigError
from netvps.files import sync_folder

_ROOT, _ROOT_KEY = "ca.pem", "ca.key"
_SSH_USER_CA, _SSH_HOST_CA, _SSH_HOST_KEY = "ssh_user_ca", "ssh_host_ca", "ssh_host_key"
_REMEDY = "restore it from a backup; or move the whole directory away for new keys, and let every runner join again"


@dataclass(frozen=True)
class Keys:
    """The keys of the CA."""

    root: x509.Certificate
    root_key: ec.EllipticCurvePrivateKey
    ssh_user_ca: ed25519.Ed25519PrivateKey
    ssh_host_ca: ed25519.Ed25519PrivateKey
    ssh_host_key: ed25519.Ed25519PrivateKey
    """The gateway's host key."""


def exists(directory: Path) -> bool:
    """Reports whether there is a CA, or a part of one. Raises ConfigError."""
    try:
        return any(directory.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(
            f"CA directory {directory} cannot be read: {error.strerror}; check its permissions"
        ) from error


def save(directory: Path, keys: Keys) -> None:
    """Writes a new CA; keeps one that another process wrote meanwhile. Raises ConfigError."""
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))  # mode 0700
        try:
            _write_all(draft, keys)
            _move(draft, directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"CA directory {directory} cannot be created: {error.strerror}; fix that, or give another directory"
        ) from error


def load(directory: Path) -> Keys:
    """Reads a CA. Raises ConfigError, with file and remedy, if a file is missing, damaged or readable by others."""
    keys = Keys(
        root=_certificate(directory / _ROOT),
        root_key=_ecdsa(directory / _ROOT_KEY),
        ssh_user_ca=_ed25519(directory / _SSH_USER_CA),
        ssh_host_ca=_ed25519(directory / _SSH_HOST_CA),
        ssh_host_key=_ed25519(directory / _SSH_HOST_KEY),
    )
    if keys.root.public_key() != keys.root_key.public_key():
        raise _damaged(directory / _ROOT_KEY, f"it is not the key of {_ROOT}")
    return keys


def private_pem(key: ed25519.Ed25519PrivateKey) -> str:
    """Returns a private key in OpenSSH's PEM format."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _write_all(draft: Path, keys: Keys) -> None:
    _write(draft / _ROOT, keys.root.public_bytes(Encoding.PEM))
    _write(draft / _ROOT_KEY, keys.root_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(draft / _SSH_USER_CA, private_pem(keys.ssh_user_ca).encode())
    _write(draft / _SSH_HOST_CA, private_pem(keys.ssh_host_ca).encode())
    _write(draft / _SSH_HOST_KEY, private_pem(keys.ssh_host_key).encode())
    sync_folder(draft)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move(draft: Path, directory: Path) -> None:
    """Renames the draft: rename(2) replaces an empty directory and refuses a non-empty one."""
    try:
        draft.rename(directory)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    sync_folder(directory.parent)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise _damaged(path, "it is not a certificate") from None


def _ecdsa(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(_read_secret(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _damaged(path, "it is not a private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(path, "it is not an ECDSA key")
    return key


def _ed25519(path: Path) -> ed25519.Ed25519PrivateKey:
    try:
        key = load_ssh_private_key(_read_secret(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _damaged(path, "it is not a private key") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _damaged(path, "it is not an Ed25519 key")
    return key


def _read_secret(path: Path) -> bytes:
    content = _read(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(
            f"CA key {path} is readable by other users: replace it if one of them may have read it, else run chmod 600"
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _damaged(path, "it is missing") from None
    except OSError as error:
        raise ConfigError(f"CA file {path} cannot be read: {error.strerror}; check its permissions") from error


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f"CA file {path} is damaged, {why}; {_REMEDY}")
