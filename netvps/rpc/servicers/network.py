"""NetworkService: the overlay for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import network_pb2 as pb
from netvps.api.v1.network_pb2_grpc import NetworkServiceServicer
from netvps.rpc.client.streams import closing
from netvps.rpc.convert import names
from netvps.rpc.convert.runner.network import finding_to_proto, overview_to_proto, path_to_proto
from netvps.rpc.convert.scheduling.addresses import reservation_to_proto, reserve_from_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.server.context import Context
    from netvps.services.network.network import Network
    from netvps.services.ports import Prober
    from netvps.services.scheduling.reservations import Reservations


class NetworkServicer(NetworkServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, network: Network, prober: Prober, reservations: Reservations) -> None:
        self._reservations = reservations
        self._network = network
        self._prober = prober

    async def GetNetwork(self, request: pb.GetNetworkRequest, context: Context) -> pb.Network:
        return overview_to_proto(await self._network.overview())

    async def ProbeLinks(self, request: pb.ProbeLinksRequest, context: Context) -> AsyncIterator[pb.NetworkLink]:
        parsed = [names.parse_runner_name(name, f"runners[{place}]") for place, name in enumerate(request.runners)]
        async with closing(self._network.links(parsed, self._prober)) as paths:
            async for path in paths:
                yield path_to_proto(path)

    async def ReserveAddress(self, request: pb.ReserveAddressRequest, context: Context) -> pb.AddressReservation:
        asked = reserve_from_proto(request)
        return reservation_to_proto(
            await self._reservations.reserve(identity.caller(), asked.runner, asked.ttl, asked.request_id)
        )

    async def CheckNetwork(self, request: pb.CheckNetworkRequest, context: Context) -> pb.CheckNetworkResponse:
        parsed = [names.parse_session_name(name, f"sessions[{place}]") for place, name in enumerate(request.sessions)]
        found = await self._network.check(identity.caller(), parsed, self._prober)
        return pb.CheckNetworkResponse(findings=map(finding_to_proto, found))
