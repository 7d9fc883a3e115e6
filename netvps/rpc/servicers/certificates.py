"""CertificateService: renewal for holders of a valid certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import enrollment_pb2 as pb
from netvps.api.v1.enrollment_pb2_grpc import CertificateServiceServicer
from netvps.rpc.convert.times import time_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.runners.certificates import Certificates


class CertificateServicer(CertificateServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        certificate, expire = await self._certificates.renew(identity.certified().uri, request.csr)
        return pb.RenewCertificateResponse(certificate=certificate, expire_time=time_to_proto(expire))
