"""Public information about a server."""

from __future__ import annotations

from dataclasses import asdict

from netvps.api.v1 import server_pb2 as pb
from netvps.domain.server import Registration, ServerInfo
from netvps.rpc.convert.enums import EnumPair

REGISTRATION = EnumPair(Registration, pb.Registration, "REGISTRATION_")


def server_info_to_proto(info: ServerInfo) -> pb.ServerInfo:
    """Converts all fields, which have the same names."""
    return pb.ServerInfo(**asdict(info) | {"registration": REGISTRATION.to_proto(info.registration)})


def server_info_from_proto(message: pb.ServerInfo) -> ServerInfo:
    """Converts all fields."""
    return ServerInfo(
        version=message.version,
        cluster_id=message.cluster_id,
        ca_certificate=message.ca_certificate,
        ssh_address=message.ssh_address,
        ssh_host_key=message.ssh_host_key,
        ssh_host_ca=message.ssh_host_ca,
        link_address=message.link_address,
        default_image=message.default_image,
        names=tuple(message.names),
        registration=REGISTRATION.from_proto(
            message.registration,
            "registration",
            unspecified=Registration.CLOSED,  # of a server without registration
        ),
        api_address=message.api_address,
        oidc_issuer=message.oidc_issuer,
    )
