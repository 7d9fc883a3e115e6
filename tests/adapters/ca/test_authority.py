"""The authority is what the services ask for."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

import asyncssh

if TYPE_CHECKING:
    from netvps.adapters.ca import Authority
    from netvps.services.ports import CertificateAuthority


def test_it_fulfils_the_port(ca: Authority) -> None:
    port: CertificateAuthority = ca  # mypy is the judge
    assert port.fingerprint == hashlib.sha256(ssl.PEM_cert_to_DER_cert(port.certificate)).hexdigest()


def test_the_gateways_host_key_is_a_pair(ca: Authority) -> None:
    pair = asyncssh.import_private_key(ca.ssh_host_key)
    assert pair.export_public_key().decode().split()[:2] == ca.ssh_host_public_key.split()
