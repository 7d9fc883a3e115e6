from __future__ import annotations

import base64
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.access.ssh_key import ALGORITHMS, TITLE_MAX, PublicKey, printable_title
from netvps.errors import InvalidInput
from tests.fakes.keys import blob, ed25519

if TYPE_CHECKING:
    from pathlib import Path

NISTP256 = b"ecdsa-sha2-nistp256"
POINT = b"\x04" + bytes(64)
MODULUS = b"\x00" + b"\xff" * 256


def line(*parts: bytes, algorithm: str = "") -> str:
    return f"{algorithm or parts[0].decode()} {base64.b64encode(blob(*parts)).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        line(b"ssh-ed25519", bytes(32)),
        line(b"ssh-rsa", b"\x01\x00\x01", MODULUS),
        line(NISTP256, b"nistp256", POINT),
        line(b"ecdsa-sha2-nistp384", b"nistp384", b"\x04" + bytes(96)),
        line(b"ecdsa-sha2-nistp521", b"nistp521", b"\x04" + bytes(132)),
        line(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
        line(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", POINT, b"ssh:"),
    ],
    ids=lambda text: text.split()[0],
)
def test_every_algorithm_is_read(text: str) -> None:
    key = PublicKey.parse(f"  {text}\t me@host \n")
    assert (key.text, key.comment) == (text, "me@host")
    assert PublicKey.parse(key.text).fingerprint == key.fingerprint
    assert key.text.split()[0] in ALGORITHMS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is none of ssh-ed25519"),
        ("ssh-ed25519", "the key is damaged"),
        ("ssh-dss AAAA", "'ssh-dss' is none of"),
        ('command="x" ' + ed25519(1), ".* is none of"),
        (ed25519(1)[:-8], "the key is damaged"),
        (ed25519(1) + "AAAA", "the key is damaged"),
        ("ssh-ed25519 !!!!", "the key is damaged"),
        ("ssh-ed25519 ÄÄÄÄ", "the key is damaged"),
        (line(b"ssh-ed25519", bytes(31)), "the key is damaged"),
        (line(b"ssh-ed25519", bytes(32), b"more"), "the key is damaged"),
        (line(b"ssh-ed25519", bytes(32), algorithm="ssh-rsa"), "the key is damaged"),
        (line(b"ssh-rsa", b"\x01\x00\x01", b"\x7f" * 128), "an RSA key has 2048 to 16384 bits"),
        (line(b"ssh-rsa", b"\x01\x00\x01", b"\x7f" * 4096), "an RSA key has 2048 to 16384 bits"),
        (line(b"ssh-rsa", b"\x01\x00\x01", b"\xff" * 257), "the key is damaged|an RSA key has"),  # negative
        (line(b"ssh-rsa", b"\x02", MODULUS), "the key is damaged"),
        (line(b"ssh-rsa", b"\x01" * 5, MODULUS), "the key is damaged"),
        (line(b"ssh-rsa", MODULUS), "the key is damaged"),
        (line(NISTP256, b"nistp384", b"\x04" + bytes(96)), "the key is damaged"),
        (line(NISTP256, b"nistp256", b"\x02" + bytes(64)), "the key is damaged"),
        (line(NISTP256, b"nistp256", POINT[:-1]), "the key is damaged"),
        (line(NISTP256, b"", b""), "the key is damaged"),
        (line(b"sk-ssh-ed25519@openssh.com", bytes(32)), "the key is damaged"),
        (line(b"sk-ssh-ed25519@openssh.com", bytes(32), b""), "the key is damaged"),
        (line(b"sk-ssh-ed25519@openssh.com"), "the key is damaged"),
        (f"{ed25519(1)}\n{ed25519(2)}", "a key is one line of at most 16384 characters"),
        (ed25519(1) + " " + "x" * 20000, "a key is one line of at most 16384 characters"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n-----END OPENSSH PRIVATE KEY-----", "this is a private key"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^authorized_keys\[3\]: ({why}).*: give one line of a \.pub file"):
        PublicKey.parse(text, "authorized_keys[3]")


@given(st.text() | st.binary().map(lambda data: f"ssh-ed25519 {base64.b64encode(data).decode()}"))
def test_any_text_is_a_key_or_a_typed_error_without_escapes(text: str) -> None:
    try:
        PublicKey.parse(text)
    except InvalidInput as error:
        assert str(error).isprintable()


@given(st.integers(0, 2**256 - 1), st.text(st.characters(exclude_categories=["Zl", "Zp", "Cc", "Cs"]), max_size=200))
def test_a_comment_changes_nothing_of_the_key(number: int, comment: str) -> None:
    key = PublicKey.parse(f"{ed25519(number)} {comment}")
    assert key.text == ed25519(number)
    assert key.comment.isprintable()
    assert len(key.comment) <= TITLE_MAX


def test_a_blob_has_one_text() -> None:
    text = line(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:abc")
    assert text.endswith("M=")
    twin = text[:-2] + "N="  # two bits more, which base64 does not use here
    assert base64.b64decode(twin.split()[1]) == base64.b64decode(text.split()[1])
    assert PublicKey.parse(twin) == PublicKey.parse(text)
    assert PublicKey.parse(twin).text == text


def test_a_title_is_printable_and_cut() -> None:
    assert printable_title(" a\x1b[31mb\n" + "c" * 200) == ("a[31mb" + "c" * 200)[:TITLE_MAX]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
@pytest.mark.parametrize(("kind", "bits"), [("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "384"), ("ecdsa", "521")])
def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path, kind: str, bits: str) -> None:
    file = tmp_path / "key"
    generate = ["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-C", "me@host", "-f", str(file)]
    subprocess.run(generate, check=True, timeout=60)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{file}.pub"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    key = PublicKey.parse((tmp_path / "key.pub").read_text())
    assert key.fingerprint == shown.split()[1]
    assert key.comment == "me@host"
