# ruff: noqa: SLF001 — see below
"""Keys and positions of asyncssh's ciphers, for another process that goes on with them.

asyncssh has no API for this: it relies on the insides of the classes in asyncssh.encryption, like pipe.py does on those
of connections. tests/gateway/relay/test_keys.py checks them.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from asyncssh.crypto.cipher import BasicCipher
from asyncssh.encryption import BasicEncryption, ChachaEncryption, Encryption, ETMEncryption, GCMEncryption
from asyncssh.mac import _HMAC  # the class of all MACs that the relay knows

if TYPE_CHECKING:
    from asyncssh.mac import MAC

Keys = dict[str, str]
_MACS: Final = {"openssl_sha256": "hmac-sha2-256", "openssl_sha512": "hmac-sha2-512", "openssl_sha1": "hmac-sha1"}
_BLOCK: Final = 16


class PlainEncryption(Encryption):
    """Encrypts nothing: packets between asyncssh and the relay, which has the keys."""

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """Returns the packet, without a MAC."""
        return header + packet, b""

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """Returns the first block, and the header in it."""
        return first_block, first_block[:header_len]

    def decrypt_packet(self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes) -> bytes:
        """Returns the packet without its header."""
        return first[header_len:] + rest


def plain_packet(payload: bytes) -> bytes:
    """A packet as PlainEncryption receives it; longer than the first block, after which asyncssh waits for more."""
    padding = 2 * _BLOCK - (5 + len(payload)) % _BLOCK
    return (1 + len(payload) + padding).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


def payload_of(packet: bytes) -> bytes:
    """The payload of a packet that PlainEncryption made."""
    return packet[5 : -packet[4]]


def is_known(encryption: Encryption | None) -> bool:
    """Whether the relay knows the cipher."""
    if isinstance(encryption, BasicEncryption):
        mode = encryption._cipher._cipher.mode
        return getattr(mode, "name", "") == "CTR" and bool(_mac_name(encryption._mac))
    return isinstance(encryption, GCMEncryption | ChachaEncryption)


def keys_of(encryption: Encryption | None, *, first: bytes = b"") -> Keys | None:
    """What the relay needs to go on with one direction; None if it does not know the cipher.

    `first` is the beginning of a packet that the cipher has decrypted already, if it needs that for the length. The
    cipher must not be used afterwards.
    """
    match encryption:
        case GCMEncryption():
            gcm = encryption._cipher
            return _encoded(f"aes{len(gcm._key) * 8}-gcm@openssh.com", key=gcm._key, iv=gcm._iv)
        case ChachaEncryption():
            chacha = encryption._cipher
            return _encoded("chacha20-poly1305@openssh.com", key=chacha._key + chacha._adkey)
        case BasicEncryption():
            return _counter_mode(encryption, first)
    return None


def _counter_mode(encryption: BasicEncryption, first: bytes) -> Keys | None:
    if not is_known(encryption):
        return None
    cipher, mac = encryption._cipher, _mac_name(encryption._mac)
    inner: Any = cipher._cipher
    mode, key = inner.mode, inner.algorithm.key
    etm = isinstance(encryption, ETMEncryption)
    found = _encoded(f"aes{len(key) * 8}-ctr", key=key, mac_key=encryption._mac._key, first=b"" if etm else first)
    found["mac"] = f"{mac}-etm@openssh.com" if etm else mac
    if stream := _next_of_stream(cipher):
        return found | _encoded("", stream=stream)
    return found | _encoded("", iv=mode.nonce)


def _next_of_stream(cipher: BasicCipher) -> bytes:
    """The encrypted counter, from which the relay has the counter; b"" if none was used yet."""
    used = cipher._encryptor or cipher._decryptor
    return used.update(bytes(_BLOCK)) if used else b""


def _mac_name(mac: MAC) -> str:
    """Its name, without -etm; "" if the relay does not know it, or if it is cut short."""
    if not isinstance(mac, _HMAC) or mac._hash_size != mac._hash_alg().digest_size:
        return ""
    return _MACS.get(mac._hash_alg.__name__, "")


def _encoded(cipher: str, **values: bytes) -> Keys:
    name = {"cipher": cipher} if cipher else {}
    return name | {field: b64encode(value).decode() for field, value in values.items() if value}
