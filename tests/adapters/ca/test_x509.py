"""Certificates of programs, as OpenSSL and a TLS handshake see them."""

from __future__ import annotations

import ssl
import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from netvps.adapters.ca.x509 import LEAF_LIFE, ROOT_LIFE, Issuer, make_root
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from netvps.adapters.ca import Authority

URI = "netvps://session/0abc/epoch/7"
KEYS: dict[str, Callable[[], CertificateIssuerPrivateKeyTypes]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
}


def csr_of(key: CertificateIssuerPrivateKeyTypes, *names: str) -> str:
    """A request that also asks for what it must not get."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of all")])
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
    for name in names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def openssl(*args: str) -> str:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_root_signs_leaves_only(ca: Authority, now: datetime, tmp_path: Path) -> None:
    root = x509.load_pem_x509_certificate(ca.certificate.encode())
    assert root.subject.rfc4514_string() == root.issuer.rfc4514_string() == "CN=netvps CA c1"
    assert root.not_valid_after_utc == now + ROOT_LIFE
    (tmp_path / "ca.pem").write_text(ca.certificate)
    shown = openssl("x509", "-in", str(tmp_path / "ca.pem"), "-noout", "-text")
    assert "CA:TRUE, pathlen:0" in shown
    assert "Certificate Sign, CRL Sign" in shown
    assert "NIST CURVE: P-256" in shown


@pytest.mark.parametrize("key", KEYS)
def test_a_client_certificate_says_what_we_decide(key: str, ca: Authority, now: datetime, tmp_path: Path) -> None:
    made = KEYS[key]()
    pem, end = ca.sign_client(csr_of(made, "control.netvps.internal"), URI, now)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert end == certificate.not_valid_after_utc == now + LEAF_LIFE
    assert certificate.not_valid_before_utc == now - timedelta(days=1)
    assert certificate.public_key() == made.public_key()
    assert "root of all" not in certificate.subject.rfc4514_string()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(URI)]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    (tmp_path / "ca.pem").write_text(ca.certificate)
    (tmp_path / "leaf.pem").write_text(pem)
    files = ("-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem"))
    openssl("verify", "-x509_strict", "-purpose", "sslclient", *files)
    with pytest.raises(AssertionError, match=r"(?i)purpose"):
        openssl("verify", "-purpose", "sslserver", *files)


def test_a_tls_handshake_goes_both_ways(ca: Authority, now: datetime, tmp_path: Path) -> None:
    client_key = ec.generate_private_key(ec.SECP256R1())
    client_pem, _ = ca.sign_client(csr_of(client_key), URI, now)
    server_key, server_pem = ca.server_certificate(["10.9.8.7", "gw.example"])
    client_key_pem = client_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (tmp_path / "client.pem").write_text(client_key_pem + client_pem)
    (tmp_path / "server.pem").write_text(server_key + server_pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca.certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(tmp_path / "server.pem")
    client = ssl.create_default_context(cadata=ca.certificate)
    client.load_cert_chain(tmp_path / "client.pem")
    for name in ("control.netvps.internal", "localhost", "10.9.8.7", "gw.example"):
        assert handshake(server, client, name)["subjectAltName"] == (("URI", URI),)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'other\.example'"):
        handshake(server, client, "other.example")


def test_a_server_that_runs_long_stays_trusted(ca: Authority, now: datetime) -> None:
    certificate = x509.load_pem_x509_certificate(ca.server_certificate([]).certificate.encode())
    root = x509.load_pem_x509_certificate(ca.certificate.encode())
    assert certificate.not_valid_after_utc == root.not_valid_after_utc == now + ROOT_LIFE


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, object]:
    """What the server sees of the client, after a handshake in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return dict(ends[1].getpeercert() or {})


def test_each_server_certificate_is_new_and_names_are_given_once(ca: Authority) -> None:
    first, second = ca.server_certificate(["localhost", "::1"]), ca.server_certificate([])
    assert first.key != second.key
    names = (
        x509.load_pem_x509_certificate(first.certificate.encode())
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert names.get_values_for_type(x509.DNSName) == ["control.netvps.internal", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["::1"]


def test_a_leaf_never_outlives_its_root(now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    root = make_root(key, "netvps CA old", now - ROOT_LIFE + timedelta(days=3))
    assert Issuer(root, key).client(key.public_key(), URI, now).not_valid_after_utc == now + timedelta(days=3)


def test_the_key_of_a_request_does_not_depend_on_the_request(ca: Authority) -> None:
    key, other = KEYS["p256"](), KEYS["p256"]()
    assert ca.csr_key(csr_of(key, "a")) == ca.csr_key(csr_of(key, "b")) != ca.csr_key(csr_of(other, "a"))
    assert len(ca.csr_key(csr_of(key))) == 64


def test_a_request_signed_with_another_key_is_refused(ca: Authority, now: datetime) -> None:
    honest = x509.load_pem_x509_csr(csr_of(KEYS["ed25519"]()).encode())
    der = bytearray(honest.public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(InvalidInput, match="csr: its signature does not match its key"):
        ca.sign_client(forged, URI, now)


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: dsa.generate_private_key(2048),
    ],
    ids=["p384", "rsa1024", "dsa"],
)
def test_a_request_with_another_kind_of_key_is_refused(
    key: Callable[[], CertificateIssuerPrivateKeyTypes], ca: Authority, now: datetime
) -> None:
    with pytest.raises(InvalidInput, match="not ECDSA P-256, Ed25519, or RSA with 2048 to 8192 bits"):
        ca.sign_client(csr_of(key()), URI, now)


@pytest.mark.parametrize(
    "csr",
    [
        "",
        "hello",
        "é\ud800",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 20_000,
    ],
    ids=["empty", "words", "surrogate", "damaged", "huge"],
)
def test_a_malformed_request_is_refused(csr: str, ca: Authority, now: datetime) -> None:
    for refuse in (lambda: ca.csr_key(csr), lambda: ca.sign_client(csr, URI, now)):
        with pytest.raises(InvalidInput, match=r"^csr: "):
            refuse()
