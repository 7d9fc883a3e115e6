"""The client's side of the CA: its private key, certificate request, and the validity of its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime


def new_key() -> str:
    """Creates a private key (PEM, PKCS#8, unencrypted: keep it in a file of mode 0600)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def signing_request(key: str) -> str:
    """Creates a CSR (PEM) for the key, with an empty subject: the CA decides the certificate's content.

    Raises ConfigError if the key is damaged.
    """
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise ConfigError("the private key is damaged") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError("the private key is not an ECDSA key")
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(private, SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def validity(certificate: str) -> tuple[datetime, datetime]:
    """Returns from when and until when a certificate (PEM) is valid. Raises ConfigError if it is damaged."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise ConfigError("the certificate is damaged") from None
    return parsed.not_valid_before_utc, parsed.not_valid_after_utc


def uri_of(certificate: str) -> str:
    """Returns the identity in a certificate (PEM), "netvps://…". Raises ConfigError if it has none."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode())
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    except (ValueError, IndexError, x509.ExtensionNotFound):
        raise ConfigError("the certificate is damaged, or carries no identity") from None
