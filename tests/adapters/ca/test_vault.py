from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.ca.vault import Vault
from netvps.errors import DataLoss

KEY, OTHER = (Vault(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))


@given(st.text(), st.text())
def test_what_is_sealed_is_opened_again(text: str, about: str) -> None:
    sealed = KEY.seal(text, about)
    assert KEY.open(sealed, about) == text
    assert KEY.seal(text, about) != sealed
    assert not text or text.encode() not in base64.b64decode(sealed)[12:-16] or len(text.encode()) < 4


@pytest.mark.parametrize("change", ["key", "about", "bit", "short", "empty", "text"])
def test_what_was_not_sealed_like_this_is_refused(change: str) -> None:
    sealed = KEY.seal("secret", "the login to a")
    data = bytearray(base64.b64decode(sealed))
    data[-1] ^= 1
    wrong = {
        "bit": base64.b64encode(data).decode(),
        "short": sealed[:8],
        "empty": "",
        "text": "no base64!",
    }.get(change, sealed)
    vault, about = (OTHER if change == "key" else KEY), ("the login to b" if change == "about" else "the login to a")
    with pytest.raises(DataLoss, match="cannot be read") as refused:
        vault.open(wrong, about)
    assert "secret" not in str(refused.value).replace("the secret of", "")
