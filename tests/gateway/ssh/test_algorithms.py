"""What is offered first, and what is not."""

from __future__ import annotations

from netvps.gateway.ssh.algorithms import encryption_algorithms, kex_algorithms


def test_curve25519_is_the_first_choice_for_dropbear() -> None:
    names = kex_algorithms()
    assert names[0] == "curve25519-sha256"
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("gss")]


def test_aes_gcm_is_preferred_and_cbc_not_offered() -> None:
    names = encryption_algorithms()
    assert names[:2] == ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"]
    assert not [name for name in names if "cbc" in name]
