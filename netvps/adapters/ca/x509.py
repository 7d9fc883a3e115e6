"""X.509 (RFC 5280): the root, server and client certificates, and checks of a CSR."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

LEAF_LIFE = timedelta(days=90)
ROOT_LIFE = timedelta(days=3653)  # ten years
_BACKDATE = timedelta(days=1)  # for clocks that are behind, or are set back later
_CSR_MAX = 16 * 1024
_RSA_BITS = range(2048, 8192 + 1)


def make_root(key: ec.EllipticCurvePrivateKey, common_name: str, now: datetime) -> x509.Certificate:
    """Creates a self-signed CA that signs leaf certificates only (path length 0)."""
    name = _name(common_name)
    builder = _builder(name, name, key.public_key(), key.public_key(), (now, now + ROOT_LIFE))
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )


class Issuer:
    """Issues certificates with a root and its key."""

    def __init__(self, root: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._root = root
        self._key = key

    def client(
        self, key: CertificateIssuerPublicKeyTypes, uri: str, now: datetime, life: timedelta = LEAF_LIFE
    ) -> x509.Certificate:
        """Issues a certificate for a dialing program, identified by a URI; the subject is informational."""
        identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        return self._leaf("netvps client", key, identity, ExtendedKeyUsageOID.CLIENT_AUTH, (now, now + life))

    def server(self, key: CertificateIssuerPublicKeyTypes, names: Iterable[str], now: datetime) -> x509.Certificate:
        """Issues a certificate for a listener's DNS names and IP addresses, valid as long as the root.

        Its key is in the memory of one process only, so a shorter validity would merely stop long-running servers.
        """
        identity = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
        return self._leaf("netvps server", key, identity, ExtendedKeyUsageOID.SERVER_AUTH, (now, now + ROOT_LIFE))

    def _leaf(
        self,
        common_name: str,
        key: CertificateIssuerPublicKeyTypes,
        identity: x509.SubjectAlternativeName,
        purpose: x509.ObjectIdentifier,
        validity: tuple[datetime, datetime],
    ) -> x509.Certificate:
        start, end = validity
        validity = start, min(end, self._root.not_valid_after_utc)
        builder = _builder(_name(common_name), self._root.subject, key, self._key.public_key(), validity)
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(identity, critical=False)
            .sign(self._key, SHA256())
        )


def requested_key(csr: str) -> CertificateIssuerPublicKeyTypes:
    """Returns the public key of a CSR (PEM) after verifying the proof of possession. Raises InvalidInput.

    Ignores everything else in the CSR: the CA decides the certificate's content.
    """
    if len(csr) > _CSR_MAX:
        raise InvalidInput.of("csr", f"{len(csr)} characters are more than {_CSR_MAX}")
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInput.of("csr", "it is not a certificate request in PEM form") from None
    if not proven:
        raise InvalidInput.of("csr", "its signature does not match its key")
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            return key
    raise InvalidInput.of("csr", "its key is not ECDSA P-256, Ed25519, or RSA with 2048 to 8192 bits")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificateIssuerPublicKeyTypes,
    issuer_key: ec.EllipticCurvePublicKey,
    validity: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    start, end = validity
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
