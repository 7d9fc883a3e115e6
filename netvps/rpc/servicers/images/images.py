"""ImageService: the images on runners that sessions are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import image_pb2 as pb
from netvps.api.v1.image_pb2_grpc import ImageServiceServicer
from netvps.domain.checks import Checks
from netvps.domain.image.reference import check_reference
from netvps.rpc.client.streams import closing
from netvps.rpc.convert import images as convert
from netvps.rpc.convert import names
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.server.context import Context
    from netvps.services.images.default_image import DefaultImages
    from netvps.services.images.images import Images
    from netvps.services.ports import FilesCarrier


class ImageServicer(ImageServiceServicer):
    """Raises the errors of the services."""

    def __init__(self, images: Images, default: DefaultImages, carrier: FilesCarrier) -> None:
        self._images = images
        self._default = default
        self._carrier = carrier

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> pb.Image:
        runner, reference = names.parse_image_name(request.name)
        return convert.view_to_proto(await self._images.get(self._carrier, runner, reference))

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        page = await self._images.list(
            self._carrier,
            runner=names.parse_images_parent(request.parent),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListImagesResponse(
            images=map(convert.view_to_proto, page.images),
            next_page_token=page.next_page_token,
            unreachable=map(names.runner_name, page.unreachable),
        )

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Context) -> pb.DeleteImageResponse:
        runner, reference = names.parse_image_name(request.name)
        await self._images.delete(
            identity.caller(), self._carrier, runner, reference, allow_missing=request.allow_missing
        )
        return pb.DeleteImageResponse()

    async def PullImage(self, request: pb.PullImageRequest, context: Context) -> AsyncIterator[pb.PullImageResponse]:
        checks, runner, reference = Checks(), "", ""
        with checks.nested():
            runner = names.parse_runner_name(request.parent, "parent")
        with checks.nested():
            reference = check_reference(request.reference)
        checks.done()
        async with closing(self._images.pull(identity.caller(), self._carrier, runner, reference)) as answers:
            async for answer in answers:
                yield pb.PullImageResponse(**convert.made_to_proto(answer))

    async def BuildImage(
        self, request_iterator: AsyncIterator[pb.BuildImageRequest], context: Context
    ) -> AsyncIterator[pb.BuildImageResponse]:
        runner, work = convert.build_from_proto(await anext(request_iterator, pb.BuildImageRequest()))
        pieces = (convert.context_piece(message) async for message in request_iterator)
        async with closing(self._images.build(identity.caller(), self._carrier, runner, work, pieces)) as answers:
            async for answer in answers:
                yield pb.BuildImageResponse(**convert.made_to_proto(answer))

    async def BootstrapImage(
        self, request: pb.BootstrapImageRequest, context: Context
    ) -> AsyncIterator[pb.BootstrapImageResponse]:
        runner, work = convert.bootstrap_from_proto(request)
        async with closing(self._images.bootstrap(identity.caller(), self._carrier, runner, work)) as answers:
            async for answer in answers:
                yield pb.BootstrapImageResponse(**convert.made_to_proto(answer))

    async def PublishImage(
        self, request: pb.PublishImageRequest, context: Context
    ) -> AsyncIterator[pb.PublishImageResponse]:
        session, work = convert.publish_from_proto(request)
        async with closing(self._images.publish(identity.caller(), self._carrier, session, work)) as answers:
            async for answer in answers:
                yield pb.PublishImageResponse(**convert.made_to_proto(answer))

    async def GetDefaultImage(self, request: pb.GetDefaultImageRequest, context: Context) -> pb.DefaultImage:
        return convert.default_to_proto(await self._default.get())

    async def UpdateDefaultImage(self, request: pb.UpdateDefaultImageRequest, context: Context) -> pb.DefaultImage:
        request_id = names.check_request_id(request.request_id)
        chosen = await self._default.change(identity.caller(), request.reference, request_id)
        return convert.default_to_proto(chosen)
