"""The control plane's API for runners, asynchronous."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from netvps.api.v1 import copy_pb2, enrollment_pb2, link_image_pb2, link_pb2, link_snapshot_pb2
from netvps.api.v1.copy_pb2_grpc import CopyServiceStub
from netvps.api.v1.enrollment_pb2_grpc import CertificateServiceStub, EnrollmentServiceStub
from netvps.api.v1.link_pb2_grpc import RunnerLinkServiceStub
from netvps.domain.pieces import pieces
from netvps.domain.session.exec import Stderr
from netvps.errors import NetvpsError, NotFound, Unauthenticated, Unavailable
from netvps.rpc.client.channel import TLS_OPTIONS, Endpoint, channel_credentials, split_address
from netvps.rpc.client.failures import to_error
from netvps.rpc.client.streams import closing
from netvps.rpc.client.trust import fetch_server_info, fingerprint
from netvps.rpc.convert import names
from netvps.rpc.convert.registries import credential_from_proto
from netvps.rpc.convert.runner.copies import COPY_PART
from netvps.rpc.convert.runner.files import answer_to_proto, error_to_proto
from netvps.rpc.convert.runner.link import from_runner_to_proto, hello_to_proto, to_runner_from_proto
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from netvps.domain.image.copies import ImageRequest
    from netvps.domain.image.login import Credential
    from netvps.domain.runner.runner import RunnerHello
    from netvps.domain.snapshot.copies import CopyRequest
    from netvps.domain.snapshot.exchange import FilesAnswer
    from netvps.rpc.convert.runner.link import FromRunner, ToRunner

UNARY_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Joined:
    """A runner's identity, all PEM, and the address where it connects with it ("HOST:PORT")."""

    runner: str
    """NAME that the control plane assigned."""
    certificate: str
    ca_certificate: str
    link_address: str


async def join(address: str, token: str, csr: str, runner_id: str) -> Joined:
    """Joins the control plane at "HOST:PORT" (its API), whose CA must match the token's fingerprint.

    Raises Unauthenticated if the CA differs, or if the token is unknown, used or expired.
    """
    info = await asyncio.to_thread(fetch_server_info, address)
    expected, found = token.rpartition("_")[2], fingerprint(info.ca_certificate)
    if expected != found:
        raise Unauthenticated(
            f"the server at {address} did not create this join token: its CA is {found[:16]}…, the token "
            f"names {expected[:16]}…; check the address, or create a new token there",
            reason="OTHER_CA",
        )
    endpoint = Endpoint(address, info.ca_certificate)
    request = enrollment_pb2.JoinRunnerRequest(join_token=token, csr=csr, runner_id=runner_id)
    channel = grpc.aio.secure_channel(address, channel_credentials(info.ca_certificate), TLS_OPTIONS)
    async with channel, _errors(endpoint):
        answer = await EnrollmentServiceStub(channel).JoinRunner(request, timeout=UNARY_TIMEOUT)
    host, _, port = info.link_address.rpartition(":")
    link_address = f"{host or address.rpartition(':')[0]}:{port}"
    name = names.parse_runner_name(answer.runner, "runner")
    return Joined(name, answer.certificate, info.ca_certificate, link_address)


async def boot_agent(address: str, ca_certificate: str, token: str, csr: str) -> str:
    """Exchanges a boot token at the control plane's API ("HOST:PORT") for an agent's certificate (PEM).

    Raises Unauthenticated if the token is unknown, used or expired.
    """
    channel = grpc.aio.secure_channel(address, channel_credentials(ca_certificate), TLS_OPTIONS)
    request = enrollment_pb2.BootAgentRequest(boot_token=token, csr=csr)
    async with channel, _errors(Endpoint(address, ca_certificate)):
        answer = await EnrollmentServiceStub(channel).BootAgent(request, timeout=UNARY_TIMEOUT)
    return answer.certificate


class RunnerLink:
    """A connection with a runner's certificate to the control plane's link address. An async context manager.

    It connects at the first call, and reconnects automatically; the caller opens an interrupted stream again.
    """

    def __init__(self, address: str, ca_certificate: str, certificate: str, key: str) -> None:
        """`address` is "HOST:PORT"; all other arguments are PEM."""
        split_address(address)
        self._endpoint = Endpoint(address, ca_certificate)
        credentials = channel_credentials(ca_certificate, certificate, key)
        self._channel = grpc.aio.secure_channel(address, credentials, TLS_OPTIONS)
        self._link = RunnerLinkServiceStub(self._channel)
        self._copies = CopyServiceStub(self._channel)
        self._certificates = CertificateServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)

    async def connect(self, hello: RunnerHello, outgoing: AsyncIterator[FromRunner]) -> AsyncIterator[ToRunner]:
        """The control stream: sends the hello and the messages of `outgoing`, and yields the control plane's messages.

        There is no queue: the next message of `outgoing` is taken when the previous one is sent. Returns when the
        control plane is about to stop. Raises Unavailable when the connection breaks, AlreadyExists while another
        process of this runner is connected, NotFound if the runner was removed.
        """
        call: Any = self._link.Connect()  # type: ignore[call-arg]  # the stubs do not know that it may write later
        async with Tasks() as tasks:
            sender = tasks.start(_send(call, hello, outgoing), name="messages to the control plane")
            try:
                async with _errors(self._endpoint):
                    async for message in call:
                        if message.HasField("drain"):
                            return
                        if (known := to_runner_from_proto(message)) is not None:
                            yield known
            except asyncio.CancelledError:
                if sender.done() and not sender.cancelled() and (error := sender.exception()) is not None:
                    raise error from None  # `outgoing` failed, and the call was cancelled for that
                raise
            finally:
                call.cancel()
        raise Unavailable(f"the control plane at {self._endpoint.address} closed the stream: connect again")

    async def boot_token(self, session_uid: str, epoch: int) -> tuple[str, str]:
        """A token for a session's agent, and the CA's PEM. Raises NotFound if this runner does not have the session."""
        request = link_pb2.CreateBootTokenRequest(session_uid=session_uid, epoch=epoch)
        async with _errors(self._endpoint):
            answer = await self._link.CreateBootToken(request, timeout=UNARY_TIMEOUT)
        return answer.boot_token, answer.ca_certificate

    async def registry_login(self, host: str) -> Credential | None:
        """The login with which to pull from a registry; None if there is none."""
        request = link_image_pb2.GetRegistryLoginRequest(host=host)
        try:
            async with _errors(self._endpoint):
                answer = await self._link.GetRegistryLogin(request, timeout=UNARY_TIMEOUT)
        except NotFound:
            return None
        return credential_from_proto(answer, host)

    async def send_logs(self, stream_id: str, pieces: AsyncIterator[bytes | Stderr]) -> None:
        """Sends the logs that a LogRequest asked for; returns when they end or the reader has disconnected.

        A NetvpsError raised by `pieces` is sent to the reader.
        """
        async with _errors(self._endpoint):
            await self._link.SendLogs(_log_messages(stream_id, pieces))

    async def carry_files(
        self, stream_id: str, work: Callable[[AsyncIterator[bytes]], AsyncIterator[FilesAnswer]]
    ) -> None:
        """Connects `work`, which takes what the control plane sends, with the caller that a FilesRequest is for.

        Returns when it is done, or when that caller has left. A NetvpsError that it raises is sent to the caller.
        """
        call: Any = self._link.CarryFiles()  # type: ignore[call-arg]  # as in `connect`
        try:
            await call.write(link_snapshot_pb2.CarryFilesRequest(stream_id=stream_id))
            try:
                async with closing(work(_sent_data(call))) as answers:
                    async for answer in answers:
                        await call.write(answer_to_proto(answer))
                await call.write(link_snapshot_pb2.CarryFilesRequest(end=True))
            except NetvpsError as error:
                await call.write(error_to_proto(error))
            await call.done_writing()
            await call.code()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the caller has left, or the connection broke
        finally:
            call.cancel()

    async def read_copy(self, request: CopyRequest, source: str) -> AsyncIterator[tuple[str, bytes]]:
        """Reads a part of a snapshot that the runner `source` holds, or any ('').

        Yields the uid of the runner that sends it, then '' with each piece. Raises NotFound, Unavailable, Exhausted.
        """
        message = copy_pb2.ReadCopyRequest(
            session_uid=request.session,
            snapshot_uid=request.snapshot,
            part=COPY_PART.to_proto(request.part),
            offset=request.offset,
            runner_uid=source,
        )
        call = self._copies.ReadCopy(message)
        try:
            async with _errors(self._endpoint):
                async for piece in call:
                    yield piece.runner_uid, piece.data
        finally:
            call.cancel()

    async def read_image(self, request: ImageRequest, source: str) -> AsyncIterator[tuple[str, bytes]]:
        """Reads a part of an image, as `read_copy`. Raises NotPermitted, too."""
        message = copy_pb2.ReadImageRequest(
            reference=request.reference,
            image_digest=request.image,
            layer_digest=request.layer,
            offset=request.offset,
            runner_uid=source,
        )
        call = self._copies.ReadImage(message)
        try:
            async with _errors(self._endpoint):
                async for piece in call:
                    yield piece.runner_uid, piece.data
        finally:
            call.cancel()

    async def send_copy(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        """Sends a part that a CopyRequest or an ImageRequest asked for; returns when it ends or the reader is gone."""
        async with _errors(self._endpoint):
            await self._copies.SendCopy(_copy_messages(stream_id, pieces))

    async def renew(self, csr: str) -> str:
        """Renews the certificate (PEM) of this runner's identity, for the key of the CSR (PEM)."""
        request = enrollment_pb2.RenewCertificateRequest(csr=csr)
        async with _errors(self._endpoint):
            answer = await self._certificates.RenewCertificate(request, timeout=UNARY_TIMEOUT)
        return answer.certificate


async def _send(call: Any, hello: RunnerHello, outgoing: AsyncIterator[FromRunner]) -> None:
    try:
        await call.write(hello_to_proto(hello))
        async with closing(outgoing):
            async for message in outgoing:
                await call.write(from_runner_to_proto(message))
        await call.done_writing()
    except (grpc.RpcError, asyncio.InvalidStateError):
        return  # the call ended; the reader of the call gets the reason
    except Exception:
        call.cancel()
        raise


async def _sent_data(call: Any) -> AsyncIterator[bytes]:
    """Yields the data that the control plane sends. Raises Unavailable if it stops before the end."""
    try:
        async for message in call:
            if message.end:
                return
            yield message.data
    except grpc.RpcError:
        pass
    raise Unavailable("the transfer was interrupted: try again")


async def _log_messages(
    stream_id: str, found: AsyncIterator[bytes | Stderr]
) -> AsyncIterator[link_pb2.SendLogsRequest]:
    yield link_pb2.SendLogsRequest(stream_id=stream_id)
    try:
        async with closing(found):
            async for piece in found:
                apart = isinstance(piece, Stderr)
                for data in pieces(piece.data if isinstance(piece, Stderr) else piece):
                    yield link_pb2.SendLogsRequest(data=data, stderr=apart)
    except NetvpsError as error:
        yield link_pb2.SendLogsRequest(error=error.message)


async def _copy_messages(stream_id: str, found: AsyncIterator[bytes]) -> AsyncIterator[copy_pb2.SendCopyRequest]:
    yield copy_pb2.SendCopyRequest(stream_id=stream_id)
    try:
        async with closing(found):
            async for piece in found:
                yield copy_pb2.SendCopyRequest(data=piece)
    except NetvpsError as error:
        yield copy_pb2.SendCopyRequest(error=error.message)


@asynccontextmanager
async def _errors(endpoint: Endpoint) -> AsyncIterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise to_error(error, endpoint) from None
