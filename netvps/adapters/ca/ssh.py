"""Signs SSH certificates with Ed25519 CAs (OpenSSH's PROTOCOL.certkeys)."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)

from netvps.errors import InvalidInput

HOST_BACKDATE, HOST_LIFE = timedelta(days=1), timedelta(days=90)
"""The gateway checks host certificates later, when its clock may have been set back."""
USER_BACKDATE, USER_LIFE = timedelta(seconds=60), timedelta(seconds=120)
_KEY_MAX = 16 * 1024
_RSA_MIN_BITS = 2048
# No X11: netvps does not forward it, and it exposes the user's display to the session.
_USER_MAY = (b"permit-agent-forwarding", b"permit-port-forwarding", b"permit-pty")

SshPublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


def user_certificate(
    ca: ed25519.Ed25519PrivateKey,
    public_key: str,
    principals: tuple[str, ...],
    key_id: str,
    validity: tuple[datetime, datetime],
) -> str:
    """Signs a certificate for logins, valid from a minute before `validity`. Raises InvalidInput."""
    start, end = validity
    builder = _builder(public_key, principals, key_id, start - USER_BACKDATE, end)
    for permission in _USER_MAY:
        builder = builder.add_extension(permission, b"")
    return _signed(builder.type(SSHCertificateType.USER), ca)


def host_certificate(
    ca: ed25519.Ed25519PrivateKey, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime
) -> str:
    """Signs a certificate of a host key. Raises InvalidInput."""
    builder = _builder(public_key, principals, key_id, now - HOST_BACKDATE, now + HOST_LIFE)
    return _signed(builder.type(SSHCertificateType.HOST), ca)


def public_line(key: ed25519.Ed25519PrivateKey) -> str:
    """Returns the public key in OpenSSH form."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _builder(
    public_key: str, principals: tuple[str, ...], key_id: str, start: datetime, end: datetime
) -> SSHCertificateBuilder:
    if not principals or not all(principals):
        # OpenSSH accepts a certificate without principals for every user.
        raise InvalidInput.of("principals", "a certificate needs at least one, none of them empty")
    return (
        SSHCertificateBuilder()
        .public_key(_load(public_key))
        .serial(secrets.randbits(63))
        .key_id(key_id.encode())
        .valid_principals([principal.encode() for principal in principals])
        .valid_after(start.timestamp())
        .valid_before(end.timestamp())
    )


def _load(public_key: str) -> SshPublicKey:
    if len(public_key) > _KEY_MAX:
        raise InvalidInput.of("public_key", f"{len(public_key)} characters are more than {_KEY_MAX}")
    try:
        key = load_ssh_public_key(public_key.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput.of("public_key", "it is not a public key in OpenSSH form") from None
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_MIN_BITS:
        return key
    raise InvalidInput.of("public_key", f"it is not ECDSA, Ed25519, or RSA with at least {_RSA_MIN_BITS} bits")


def _signed(builder: SSHCertificateBuilder, ca: ed25519.Ed25519PrivateKey) -> str:
    return builder.sign(ca).public_bytes().decode()
