"""MeshService: what other servers of the database call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import mesh_pb2 as pb
from netvps.api.v1.mesh_pb2_grpc import MeshServiceServicer
from netvps.rpc.mesh.addressee import require_addressed_to
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.mesh.mesh import Mesh
    from netvps.rpc.server.context import Context


class MeshServicer(MeshServiceServicer):
    """Serves the calls for this server, and refuses those for another."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def Nudge(self, request: pb.NudgeRequest, context: Context) -> pb.NudgeResponse:
        require_addressed_to(self._mesh.own.uid, context)
        self._mesh.nudged(identity.server().uid, request.revision)
        return pb.NudgeResponse()
