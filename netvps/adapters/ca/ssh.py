"""SSH certificates (OpenSSH's PROTOCOL.certkeys) of Ed25519 CAs."""

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
"""It is the gateway that checks it, some time later, when its clock may have been set back."""
USER_BACKDATE, USER_LIFE = timedelta(seconds=60), timedelta(seconds=120)
_KEY_MAX = 16 * 1024
_RSA_MIN_BITS = 2048
# No X11: nothing of netvps forwards it, and it opens the user's display to the session.
_USER_MAY = (b"permit-agent-forwarding", b"permit-port-forwarding", b"permit-pty")

SshPublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


def user_certificate(
    ca: ed25519.Ed25519PrivateKey,
    public_key: str,
    principals: tuple[str, ...],
    key_id: str,
    validity: tuple[datetime, datetime],
) -> str:
    """A certificate to log in with, from a minute before its time. Raises InvalidInput."""
    start, end = validity
    builder = _builder(public_key, principals, key_id, start - USER_BACKDATE, end)
    for permission in _USER_MAY:
        builder = builder.add_extension(permission, b"")
    return _signed(builder.type(SSHCertificateType.USER), ca)


def host_certificate(
    ca: ed25519.Ed25519PrivateKey, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime
) -> str:
    """A certificate of a host key. Raises InvalidInput."""
    builder = _builder(public_key, principals, key_id, now - HOST_BACKDATE, now + HOST_LIFE)
    return _signed(builder.type(SSHCertificateType.HOST), ca)


def public_line(key: ed25519.Ed25519PrivateKey) -> str:
    """The public key in OpenSSH form."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _builder(
    public_key: str, principals: tuple[str, ...], key_id: str, start: datetime, end: datetime
) -> SSHCertificateBuilder:
    if not principals or not all(principals):
        # To OpenSSH, a certificate without principals is one for everybody.
        raise InvalidInput.of("principals", "a certificate needs at least one, and none of them empty")
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
        raise InvalidInput.of("public_key", "it is no public key in OpenSSH form") from None
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_MIN_BITS:
        return key
    raise InvalidInput.of("public_key", f"it is none of ECDSA, Ed25519, and RSA with at least {_RSA_MIN_BITS} bits")


def _signed(builder: SSHCertificateBuilder, ca: ed25519.Ed25519PrivateKey) -> str:
    return builder.sign(ca).public_bytes().decode()
