"""Seals secrets that netvps has to give back, with a key derived from the CA's: services.ports.Vault.

AES-256-GCM with a random nonce of 96 bits. A sealed text is bound to what it is about, so that none can be put in the
place of another. Who has a copy of the database alone, reads nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from netvps.errors import DataLoss

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_NONCE: Final = 12
_KEY: Final = 32
_PURPOSE: Final = b"netvps secrets of others, version 1"


class Vault:
    """Seals and opens texts with a key that only this CA has."""

    def __init__(self, root_key: ec.EllipticCurvePrivateKey) -> None:
        secret = root_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self._cipher = AESGCM(HKDF(SHA256(), _KEY, None, _PURPOSE).derive(secret))

    def seal(self, text: str, about: str) -> str:
        """Encrypts a text."""
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), about.encode())).decode()

    def open(self, sealed: str, about: str) -> str:
        """Decrypts a sealed text. Raises DataLoss if it was sealed by another CA, for something else, or is damaged."""
        try:
            data = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], about.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise DataLoss(
                f"the secret of {about} cannot be read: the server's CA is not the one that it was stored with, or the"
                " database is damaged; store it again",
                reason="SEALED",
            ) from None
