from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.services.access.tokens import API, BOOT, JOIN, Token, mint
from tests.fakes.clock import FakeClock

NOW = FakeClock()()


@pytest.mark.parametrize(("purpose", "prefix"), [(API, "nv"), (JOIN, "nvj"), (BOOT, "nvb")])
def test_a_minted_token_reads_back_and_opens_its_credential(purpose: str, prefix: str) -> None:
    fingerprint = "fa" * 32 if purpose == JOIN else ""
    credential, text = mint(purpose, "alice", NOW, timedelta(hours=1), fingerprint=fingerprint)
    token = Token.parse(f" {text}\n", purpose)
    assert token is not None
    assert (text.split("_")[0], token.kid, token.fingerprint) == (prefix, credential.kid, fingerprint)
    assert credential.matches(token.secret, NOW)
    assert not credential.matches(token.secret, NOW + timedelta(hours=1))
    assert token.secret not in repr(credential) + repr(token)


def test_no_token_is_read_for_another_purpose() -> None:
    fingerprints = {API: "", JOIN: "fa" * 32, BOOT: ""}
    tokens = {purpose: mint(purpose, "", NOW, fingerprint=given)[1] for purpose, given in fingerprints.items()}
    for purpose in tokens:
        assert {other for other, text in tokens.items() if Token.parse(text, purpose)} == {purpose}


@given(st.text() | st.from_regex(r"nv[jb]?_[0-9a-f_]{0,200}"))
def test_any_text_may_be_presented(text: str) -> None:
    for purpose in (API, JOIN, BOOT):
        token = Token.parse(text, purpose)
        assert token is None or str(token) == text.strip()


def test_no_two_secrets_are_the_same() -> None:
    assert len({mint(API, "alice", NOW)[1] for _ in range(100)}) == 100
