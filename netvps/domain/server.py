"""Public information about a server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

INTERNAL_NAME: Final = "control.netvps.internal"
"""The DNS name in every server's certificate. Clients pin the CA and expect this name, whatever address they dial."""


class Registration(StrEnum):
    """Who may make an account for themselves."""

    CLOSED = "CLOSED"
    """Only admins add users."""
    INVITE_ONLY = "INVITE_ONLY"
    OPEN = "OPEN"
    """All who reach the API, with role USER."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a client needs to trust the server and to reach its gateway. Contains no secrets.

    Addresses are "HOST:PORT"; an empty HOST means the host that the client connected to.
    """

    version: str
    cluster_id: str
    ca_certificate: str
    ssh_address: str
    ssh_host_key: str
    ssh_host_ca: str
    link_address: str
    default_image: str
    names: tuple[str, ...] = ()
    """Names and addresses in the TLS certificate of the API."""
    registration: Registration = Registration.CLOSED
    """Who may make an account for themselves."""
    api_address: str = ""
    oidc_issuer: str = ""
    """URL of the OIDC issuer with whose accounts people log in; "" for none."""
