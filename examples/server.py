"""The server of the examples: NETVPS_ADDRESS, with NETVPS_CA and NETVPS_API_KEY_FILE unless it is a socket."""

from __future__ import annotations

import os
from pathlib import Path

from netvps.client import Endpoint


def endpoint() -> Endpoint:
    """The server of the environment."""
    address = os.environ["NETVPS_ADDRESS"]
    if address.startswith("unix:"):
        return Endpoint(address)
    key = Path(os.environ["NETVPS_API_KEY_FILE"]).read_text(encoding="utf-8").strip()
    return Endpoint(address, Path(os.environ["NETVPS_CA"]).read_text(encoding="utf-8"), key)
