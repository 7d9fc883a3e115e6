"""EnrollmentService: exchanges a token for a certificate. The token in the request is the credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import enrollment_pb2 as pb
from netvps.api.v1.enrollment_pb2_grpc import EnrollmentServiceServicer
from netvps.rpc.convert import names

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.runners.certificates import Certificates
    from netvps.services.runners.joining import Joining


class EnrollmentServicer(EnrollmentServiceServicer):
    """Raises the errors of the services; `ca_certificate` in PEM."""

    def __init__(self, joining: Joining, certificates: Certificates, ca_certificate: str) -> None:
        self._joining = joining
        self._certificates = certificates
        self._ca_certificate = ca_certificate

    async def JoinRunner(self, request: pb.JoinRunnerRequest, context: Context) -> pb.JoinRunnerResponse:
        joined = await self._joining.join(request.join_token, request.csr, request.runner_id)
        return pb.JoinRunnerResponse(
            runner=names.runner_name(joined.runner.name),
            certificate=joined.certificate,
            ca_certificate=self._ca_certificate,
        )

    async def BootAgent(self, request: pb.BootAgentRequest, context: Context) -> pb.BootAgentResponse:
        return pb.BootAgentResponse(certificate=await self._certificates.boot_agent(request.boot_token, request.csr))
