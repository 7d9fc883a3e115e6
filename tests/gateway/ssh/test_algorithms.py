"""What is offered first, and what is not."""

from __future__ import annotations

import pytest

from netvps.gateway.ssh.algorithms import algorithm_of, encryption_algorithms, kex_algorithms, signature_algorithms


def test_curve25519_is_the_first_choice_for_dropbear() -> None:
    names = kex_algorithms()
    assert names[0] == "curve25519-sha256"
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("gss")]


def test_aes_gcm_is_preferred_and_cbc_not_offered() -> None:
    names = encryption_algorithms()
    assert names[:2] == ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"]
    assert not [name for name in names if "cbc" in name]


def test_rsa_with_sha1_and_dsa_are_not_offered() -> None:
    names = signature_algorithms()
    assert {"rsa-sha2-256", "ssh-ed25519", "sk-ssh-ed25519@openssh.com"} <= set(names)
    assert not {"ssh-rsa", "ssh-dss", "ssh-rsa-sha224@ssh.com"} & set(names)


@pytest.mark.parametrize(("damaged"), [b"", b"\x00\x00\x00\xffrsa", b"\x00\x00\x00\x01\xff"])
def test_a_damaged_signature_names_no_algorithm(damaged: bytes) -> None:
    assert algorithm_of(damaged) == ""
