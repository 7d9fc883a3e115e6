from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.ca.opening import open_ca
from netvps.domain.access.identity import RunnerIdentity
from netvps.errors import ConfigError
from netvps.process import clock
from netvps.programs.wiring.identity import Identity, load_identity, own_key, save_identity

UID = clock.new_uid()


def _identity(folder: Path, uri: str = RunnerIdentity(UID).uri) -> Identity:
    ca, key = open_ca(folder / "ca", "c1", clock.now), new_key()
    certificate, _ = ca.sign_client(signing_request(key), uri, clock.now())
    return Identity("box1", key, certificate, ca.certificate, "h:7443", "h:7444")


def test_it_is_kept_for_our_eyes_only(tmp_path: Path) -> None:
    identity = _identity(tmp_path)
    save_identity(tmp_path, identity)
    save_identity(tmp_path, identity)
    assert load_identity(tmp_path) == identity
    assert identity.uid == UID
    assert stat.S_IMODE((tmp_path / "runner/identity").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "runner").iterdir()] == ["identity"]


def test_there_is_none_before_the_join(tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None


def test_a_damaged_one_is_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "runner").mkdir()
    for text in ("", "[]", '{"name": "x"}', json.dumps(dict.fromkeys(Identity.__dataclass_fields__, "x"))):
        (tmp_path / "runner/identity").write_text(text)
        with pytest.raises(ConfigError, match="remove it, and join"):
            load_identity(tmp_path)


def test_a_sessions_certificate_is_not_a_runners(tmp_path: Path) -> None:
    save_identity(tmp_path, _identity(tmp_path, f"netvps://session/{UID}/epoch/1"))
    with pytest.raises(ConfigError, match="not of a runner"):
        load_identity(tmp_path)


def test_the_key_is_the_same_at_every_try_to_join(tmp_path: Path) -> None:
    assert own_key(tmp_path) == own_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "runner/key").stat().st_mode) == 0o600


def test_it_is_renewed_when_a_third_of_its_life_is_left(tmp_path: Path) -> None:
    identity = _identity(tmp_path)
    assert timedelta(days=29) < identity.end - identity.renew_at < timedelta(days=31)
