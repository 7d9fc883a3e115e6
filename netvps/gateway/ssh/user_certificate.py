"""Validates the certificate of a user who logs in to the gateway (OpenSSH's PROTOCOL.certkeys)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from asyncssh.public_key import CERT_TYPE_USER

from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.errors import InvalidInput, NotPermitted
from netvps.services.access.ssh_certificates import user_of

if TYPE_CHECKING:
    from asyncssh.public_key import SSHOpenSSHCertificate

_RESTRICTIONS: Final = {"force-command", "source-address"}
"""Critical options that asyncssh knows. Certificates of this CA have none; asyncssh rejects all other options."""


def certified_user(certificate: SSHOpenSSHCertificate, user_ca: bytes, now: float) -> str:
    """The user that a certificate names. asyncssh has already verified the signature by the key that it contains.

    Raises NotPermitted unless that key is `user_ca` and it is a user certificate valid at `now` (Unix time).
    """
    if certificate.signing_key.public_data != user_ca:
        raise NotPermitted("the certificate is from another CA: `netvps ssh NAME` gets one of this server")
    name = user_of(tuple(certificate.principals))
    try:
        user = check_label(name or "", "principal", USER_NAME_MAX)
        certificate.validate(CERT_TYPE_USER, None)
    except InvalidInput:
        raise NotPermitted("the certificate names no user of netvps: `netvps ssh NAME` gets one that does") from None
    except ValueError as error:
        raise NotPermitted(_bad_time(str(error), now)) from None
    if _RESTRICTIONS & certificate.options.keys():
        raise NotPermitted("the certificate has restrictions that the gateway does not keep")
    return user


def _bad_time(why: str, now: float) -> str:
    clock = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{why.lower()} by the gateway's clock ({clock}): run `netvps ssh NAME` again, which gets a new one"
