from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from netvps.adapters.ca.client_key import new_key, signing_request, uri_of, validity
from netvps.adapters.ca.x509 import requested_key
from netvps.errors import ConfigError


def test_what_is_asked_for_is_what_the_ca_takes() -> None:
    assert isinstance(requested_key(signing_request(new_key())), ec.EllipticCurvePublicKey)


def test_damage_is_reported() -> None:
    with pytest.raises(ConfigError, match="damaged"):
        signing_request("nonsense")
    with pytest.raises(ConfigError, match="damaged"):
        validity("nonsense")
    with pytest.raises(ConfigError, match="damaged"):
        uri_of("nonsense")
