"""Calls of ImageService. An image is named by the NAME of its runner and its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.api.v1 import image_pb2 as pb
from netvps.domain.pieces import pieces
from netvps.rpc.client.calls.call import Pages, Stream, Unary, new_request_id, nothing
from netvps.rpc.convert import images as convert
from netvps.rpc.convert import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.domain.image.image import DefaultImage, ImageProgress, ImageView
    from netvps.domain.image.work import ImageLog


def get_image(runner: str, reference: str) -> Unary[ImageView]:
    """One image of a runner."""
    request = pb.GetImageRequest(name=names.image_name(runner, reference))
    return Unary("ImageService/GetImage", request, pb.Image, convert.view_from_proto)


def list_images(runner: str = "", *, unreachable: Callable[[str], object] = lambda _: None) -> Pages[ImageView]:
    """The images of a runner, or of all; `unreachable` takes the NAME of each runner that could not be asked."""

    def read(page: pb.ListImagesResponse) -> Iterator[ImageView]:
        for name in page.unreachable:
            unreachable(names.parse_runner_name(name))
        return map(convert.view_from_proto, page.images)

    request = pb.ListImagesRequest(parent=names.runner_name(runner))
    return Pages("ImageService/ListImages", request, pb.ListImagesResponse, read)


def delete_image(runner: str, reference: str, *, allow_missing: bool = False) -> Unary[None]:
    """Removes an image that nothing uses from a runner."""
    request = pb.DeleteImageRequest(name=names.image_name(runner, reference), allow_missing=allow_missing)
    return Unary("ImageService/DeleteImage", request, pb.DeleteImageResponse, nothing)


def pull_image(runner: str, reference: str) -> Stream[ImageProgress | ImageLog | ImageView]:
    """Lets a runner pull an image; yields the progress, then the image. Closing it ends the pull."""
    request = pb.PullImageRequest(parent=names.runner_name(runner), reference=reference)
    return Stream("ImageService/PullImage", request, pb.PullImageResponse, convert.made_from_proto)


def bootstrap_image(
    runner: str, name: str, *, suite: str = "", mirror: str = ""
) -> Stream[ImageProgress | ImageLog | ImageView]:
    """Lets a runner build an environment with debootstrap; yields the progress, then the image."""
    request = pb.BootstrapImageRequest(
        parent=names.runner_name(runner), environment_id=name, suite=suite, mirror=mirror
    )  # fmt: skip
    return Stream("ImageService/BootstrapImage", request, pb.BootstrapImageResponse, convert.made_from_proto)


def publish_image(session: str, name: str, tag: str = "") -> Stream[ImageProgress | ImageLog | ImageView]:
    """Makes an environment of a stopped session, on its runner; yields the progress, then the image."""
    request = pb.PublishImageRequest(session=names.session_name(session), environment_id=name, tag=tag)
    return Stream("ImageService/PublishImage", request, pb.PublishImageResponse, convert.made_from_proto)


BUILD: Final = ("ImageService/BuildImage", pb.BuildImageResponse)
"""Method and answers of a build."""


def build_start(runner: str, name: str, tag: str, dockerfile: str) -> pb.BuildImageRequest:
    """The first message of a build."""
    start = pb.BuildStart(parent=names.runner_name(runner), environment_id=name, tag=tag, dockerfile=dockerfile)
    return pb.BuildImageRequest(start=start)


def build_piece(data: bytes) -> Iterator[pb.BuildImageRequest]:
    """Messages for a piece of a context."""
    return (pb.BuildImageRequest(data=piece) for piece in pieces(data))


def get_default_image() -> Unary[DefaultImage]:
    """The image of sessions that name none."""
    return Unary(
        "ImageService/GetDefaultImage", pb.GetDefaultImageRequest(), pb.DefaultImage, convert.default_from_proto
    )  # fmt: skip


def update_default_image(reference: str) -> Unary[DefaultImage]:
    """Changes it; '' brings the setting of the server back."""
    request = pb.UpdateDefaultImageRequest(reference=reference, request_id=new_request_id())
    return Unary("ImageService/UpdateDefaultImage", request, pb.DefaultImage, convert.default_from_proto)
