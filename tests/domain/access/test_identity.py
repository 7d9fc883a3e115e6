from __future__ import annotations

import pytest

from netvps.domain.access.identity import Certified, RunnerIdentity, ServerIdentity, SessionIdentity, parse_identity
from netvps.errors import InvalidInput

UID = "0123456789abc"


@pytest.mark.parametrize(
    ("identity", "uri"),
    [
        (RunnerIdentity(UID), f"netvps://runner/{UID}"),
        (SessionIdentity(UID, 12), f"netvps://session/{UID}/epoch/12"),
        (ServerIdentity(UID), f"netvps://server/{UID}"),
    ],
)
def test_an_identity_reads_back(identity: Certified, uri: str) -> None:
    assert identity.uri == uri
    assert parse_identity(uri) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "netvps://runner/",
        f"netvps://runner/{UID}/",
        f"netvps://runner/{UID}\n",
        f"netvps://runner/{UID.upper()}",
        f"netvps://session/{UID}",
        f"netvps://server/{UID}/epoch/1",
        f"netvps://session/{UID}/epoch/0",
        f"netvps://session/{UID}/epoch/01",
        f"netvps://session/{UID}/epoch/{'9' * 19}",
        f"https://runner/{UID}",
    ],
)
def test_what_is_no_identity(uri: str) -> None:
    with pytest.raises(InvalidInput, match="is not the identity of a runner, session or server"):
        parse_identity(uri)
