"""What is read from the inside of asyncssh's ciphers."""

from __future__ import annotations

import hashlib
import inspect
from base64 import b64decode

import pytest
from asyncssh.crypto.chacha import ChachaCipher
from asyncssh.crypto.cipher import BasicCipher, GCMCipher
from asyncssh.encryption import (
    BasicEncryption,
    ChachaEncryption,
    Encryption,
    ETMEncryption,
    GCMEncryption,
    get_encryption,
)
from asyncssh.mac import _HMAC
from hypothesis import given
from hypothesis import strategies as st

from netvps.gateway.relay.keys import PlainEncryption, is_known, keys_of, payload_of, plain_packet
from tests.gateway.relay.digests import DIGESTS

KEY, IV = bytes(range(64)), bytes(range(100, 116))


def made(cipher: bytes, key: int, iv: int, mac: bytes = b"", mac_key: int = 0, *, etm: bool = False) -> Encryption:
    return get_encryption(cipher, KEY[:key], IV[:iv], mac, KEY[:mac_key], etm)


@pytest.mark.parametrize(
    "kind",
    [ChachaCipher, BasicCipher, GCMCipher, BasicEncryption, ChachaEncryption, ETMEncryption, GCMEncryption, _HMAC],
)
def test_the_inside_is_as_it_was_read(kind: type) -> None:
    found = hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()[:16]
    assert found == DIGESTS[kind.__name__], f"{kind.__name__} changed: read it, then see whether keys.py still holds"


def test_gcm_goes_on_with_its_counter() -> None:
    cipher = made(b"aes256-gcm@openssh.com", 32, 12)
    cipher.encrypt_packet(0, b"\0\0\0\x10", bytes(16))
    keys = keys_of(cipher)
    assert keys is not None
    assert (keys["cipher"], b64decode(keys["key"])) == ("aes256-gcm@openssh.com", KEY[:32])
    assert b64decode(keys["iv"]) == IV[:11] + bytes([IV[11] + 1])


def test_chacha_has_both_keys() -> None:
    keys = keys_of(made(b"chacha20-poly1305@openssh.com", 64, 0))
    assert keys is not None
    assert b64decode(keys["key"]) == KEY


def test_counter_mode_goes_on_with_its_stream() -> None:
    cipher = made(b"aes192-ctr", 24, 16, b"hmac-sha2-256", 32)
    fresh = keys_of(cipher)
    assert fresh is not None
    assert (b64decode(fresh["iv"]), "stream" in fresh) == (IV, False)
    cipher.encrypt_packet(0, b"\0\0\0\x0c", bytes(12))
    other = made(b"aes192-ctr", 24, 16, b"hmac-sha2-256", 32)
    stream, _ = other.encrypt_packet(0, bytes(4), bytes(28))
    keys = keys_of(cipher, first=b"f" * 16)
    assert keys is not None
    assert (keys["cipher"], keys["mac"], b64decode(keys["first"])) == ("aes192-ctr", "hmac-sha2-256", b"f" * 16)
    assert b64decode(keys["stream"]) == stream[16:]


def test_etm_needs_no_first_block() -> None:
    keys = keys_of(made(b"aes128-ctr", 16, 16, b"hmac-sha1-etm@openssh.com", 20, etm=True), first=b"f" * 16)
    assert keys is not None
    assert (keys["mac"], "first" in keys) == ("hmac-sha1-etm@openssh.com", False)


@pytest.mark.parametrize(
    "unknown",
    [
        None,
        PlainEncryption(),
        made(b"aes128-cbc", 16, 16, b"hmac-sha2-256", 32),
        made(b"aes128-ctr", 16, 16, b"hmac-md5", 16),
        made(b"aes128-ctr", 16, 16, b"hmac-sha2-256-96", 32),
    ],
)
def test_other_ciphers_stay_in_the_gateway(unknown: Encryption | None) -> None:
    assert not is_known(unknown)
    assert keys_of(unknown) is None


@given(st.binary(min_size=1, max_size=100))
def test_plain_packets_come_out_as_they_went_in(payload: bytes) -> None:
    packet = plain_packet(payload)
    assert len(packet) > 16
    plain = PlainEncryption()
    first, header = plain.decrypt_header(0, packet[:16], 4)
    assert int.from_bytes(header, "big") == len(packet) - 4
    body = plain.decrypt_packet(0, first, packet[16:], 4, b"")
    assert body[1 : -body[0]] == payload
    sent, mac = plain.encrypt_packet(0, packet[:4], packet[4:])
    assert (payload_of(sent), mac) == (payload, b"")
