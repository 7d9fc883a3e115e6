"""A program's own key, and what it reads in its certificate."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import asyncssh
import pytest

from netvps.adapters.ca import client_key
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.adapters.ca import Authority

URI = "netvps://runner/0abc"


def test_a_request_is_signed_by_the_ca_and_read_back(ca: Authority, now: datetime) -> None:
    key = client_key.new_key()
    certificate, end = ca.sign_client(client_key.signing_request(key), URI, now)
    assert client_key.uri_of(certificate) == URI
    assert client_key.validity(certificate) == (now - timedelta(minutes=5), end)


def test_requests_of_one_key_are_of_one_key(ca: Authority) -> None:
    key, other = client_key.new_key(), client_key.new_key()
    first, second = client_key.signing_request(key), client_key.signing_request(key)
    assert ca.csr_key(first) == ca.csr_key(second) != ca.csr_key(client_key.signing_request(other))


@pytest.mark.parametrize("key", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_a_config_error(key: str) -> None:
    with pytest.raises(ConfigError, match="the private key is damaged"):
        client_key.signing_request(key)


def test_a_key_of_another_kind_is_a_config_error() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key("pkcs8-pem").decode()
    with pytest.raises(ConfigError, match="the private key is not an ECDSA key"):
        client_key.signing_request(key)


@pytest.mark.parametrize("read", [client_key.validity, client_key.uri_of])
def test_a_damaged_certificate_is_a_config_error(read: Callable[[str], object]) -> None:
    with pytest.raises(ConfigError, match="the certificate is damaged"):
        read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_a_certificate_without_an_identity_is_a_config_error(ca: Authority) -> None:
    with pytest.raises(ConfigError, match="carries no identity"):
        client_key.uri_of(ca.certificate)
