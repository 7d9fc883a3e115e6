"""The certificate authority: implements services.ports.CertificateAuthority, and serves the server's own listeners."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from netvps.adapters.ca import ssh
from netvps.adapters.ca.files import Keys, private_pem
from netvps.adapters.ca.vault import Vault
from netvps.adapters.ca.x509 import ROOT_LIFE, Issuer, requested_key
from netvps.domain.server import INTERNAL_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from cryptography.x509 import Certificate

    from netvps.services.ports import Clock


class ServerIdentity(NamedTuple):
    """A private key and its certificate, both PEM."""

    key: str
    certificate: str


class Authority:
    """Signs certificates. Thread-safe; a call takes well under a millisecond, except with RSA."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._issuer = Issuer(keys.root, keys.root_key)
        self.vault = Vault(keys.root_key)

    @property
    def certificate(self) -> str:
        """The X.509 CA certificate (PEM)."""
        return self._keys.root.public_bytes(Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the CA certificate (DER), in hex."""
        return self._keys.root.fingerprint(SHA256()).hex()

    @property
    def ssh_user_ca(self) -> str:
        """The public key of the SSH user CA, in OpenSSH form."""
        return ssh.public_line(self._keys.ssh_user_ca)

    @property
    def ssh_host_ca(self) -> str:
        """The public key of the SSH host CA, in OpenSSH form."""
        return ssh.public_line(self._keys.ssh_host_ca)

    @property
    def ssh_host_key(self) -> str:
        """The gateway's private host key, OpenSSH PEM."""
        return private_pem(self._keys.ssh_host_key)

    @property
    def ssh_host_public_key(self) -> str:
        """The gateway's public host key, in OpenSSH form."""
        return ssh.public_line(self._keys.ssh_host_key)

    def server_certificate(self, names: Iterable[str]) -> ServerIdentity:
        """Creates a key and certificate for the listeners, at each start and in memory only.

        The certificate is for INTERNAL_NAME, localhost and `names` (DNS names and IP addresses).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        return _pair(key, self._issuer.server(key.public_key(), (INTERNAL_NAME, "localhost", *names), self._clock()))

    def client_certificate(self, uri: str) -> ServerIdentity:
        """Creates a key and certificate for calls to other servers, as those for the listeners."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pair(key, self._issuer.client(key.public_key(), uri, self._clock(), ROOT_LIFE))

    def sign_client(self, csr: str, uri: str, now: datetime) -> tuple[str, datetime]:
        """Signs a client certificate (PEM) for a CSR's key with a URI as identity; also returns its end.

        Raises InvalidInput if the CSR is malformed, has a wrong signature, or a weak key.
        """
        certificate = self._issuer.client(requested_key(csr), uri, now)
        return certificate.public_bytes(Encoding.PEM).decode(), certificate.not_valid_after_utc

    def csr_key(self, csr: str) -> str:
        """Returns the SHA-256 in hex of a CSR's public key (DER, SubjectPublicKeyInfo). Raises InvalidInput."""
        key = requested_key(csr).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(key).hexdigest()

    def sign_ssh_host(self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime) -> str:
        """Signs an SSH host certificate, valid for 90 days. Raises InvalidInput if the key is malformed."""
        return ssh.host_certificate(self._keys.ssh_host_ca, public_key, principals, key_id, now)

    def sign_ssh_user(
        self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime, life: timedelta | None = None
    ) -> str:
        """Signs an SSH user certificate, valid from a minute ago for `life`, two minutes by default."""
        validity = now, now + (life or ssh.USER_LIFE)
        return ssh.user_certificate(self._keys.ssh_user_ca, public_key, principals, key_id, validity)


def _pair(key: ec.EllipticCurvePrivateKey, certificate: Certificate) -> ServerIdentity:
    return ServerIdentity(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        certificate.public_bytes(Encoding.PEM).decode(),
    )
