"""Images for callers, and the messages between runners and the control plane about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from netvps.api.v1 import image_pb2 as pb
from netvps.api.v1 import link_image_pb2 as link
from netvps.domain.image.image import DefaultImage, Image, ImageProgress, ImageView
from netvps.domain.image.work import DeleteImage, ListImages, PullImage
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.texts import sentence, word, words
from netvps.rpc.convert.times import duration_from_proto, duration_to_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from netvps.domain.image.work import ImageAnswer, ImageWork

MAX_IMAGES: Final = 256
"""Maximum images in one message of a runner."""
MAX_SESSIONS: Final = 500
"""Maximum sessions named with one image: 16 images with as many fit into a message."""


def view_to_proto(view: ImageView) -> pb.Image:
    """An image for callers."""
    return pb.Image(
        name=names.image_name(view.runner, view.reference),
        reference=view.reference,
        digest=view.digest,
        size_bytes=view.size_bytes,
        architecture=view.architecture,
        create_time=time_to_proto(view.create_time),
        is_default=view.is_default,
        session_count=view.session_count,
    )


def view_from_proto(message: pb.Image) -> ImageView:
    """An image, as a client reads it."""
    runner, reference = names.parse_image_name(message.name)
    return ImageView(
        runner=runner,
        reference=reference,
        digest=message.digest,
        size_bytes=message.size_bytes,
        architecture=message.architecture,
        create_time=time_from_proto(message, "create_time"),
        is_default=message.is_default,
        session_count=message.session_count,
    )


def progress_to_proto(progress: ImageProgress) -> pb.ImageProgress:
    """Converts all fields."""
    return pb.ImageProgress(
        message=progress.message,
        done_bytes=progress.done_bytes,
        total_bytes=progress.total_bytes,
        done_layers=progress.done_layers,
        total_layers=progress.total_layers,
        remaining=None if progress.remaining is None else duration_to_proto(progress.remaining),
    )


def progress_from_proto(message: pb.ImageProgress) -> ImageProgress:
    """Parses progress; texts are cut."""
    return ImageProgress(
        message=sentence(message.message),
        done_bytes=message.done_bytes,
        total_bytes=message.total_bytes,
        done_layers=message.done_layers,
        total_layers=message.total_layers,
        remaining=duration_from_proto(message.remaining) if message.HasField("remaining") else None,
    )


def pulled_from_proto(message: pb.PullImageResponse) -> ImageProgress | ImageView:
    """A message of a pull, as a client reads it."""
    if message.WhichOneof("message") == "image":
        return view_from_proto(message.image)
    return progress_from_proto(message.progress)


def default_to_proto(default: DefaultImage) -> pb.DefaultImage:
    """Converts all fields."""
    return pb.DefaultImage(reference=default.reference, revision=default.revision)


def default_from_proto(message: pb.DefaultImage) -> DefaultImage:
    """Converts all fields."""
    return DefaultImage(message.reference, message.revision)


def work_to_proto(work: ImageWork) -> link.ImageWork:
    """A request to a runner."""
    match work:
        case ListImages(reference):
            return link.ImageWork(list=link.ListRunnerImages(reference=reference))
        case DeleteImage(reference):
            return link.ImageWork(delete=link.DeleteRunnerImage(reference=reference))
        case PullImage(reference):
            return link.ImageWork(pull=link.PullRunnerImage(reference=reference))


def work_from_proto(message: link.ImageWork) -> ImageWork | None:
    """A request; None if it asks for what this version does not know."""
    match message.WhichOneof("work"):
        case "list":
            return ListImages(message.list.reference)
        case "delete":
            return DeleteImage(message.delete.reference)
        case "pull":
            return PullImage(message.pull.reference)
    return None


def answer_to_proto(answer: ImageAnswer) -> link.ImageAnswer:
    """A message of a runner."""
    match answer:
        case Image():
            return link.ImageAnswer(image=_image_to_proto(answer))
        case ImageProgress():
            return link.ImageAnswer(progress=progress_to_proto(answer))
        case tuple():
            return link.ImageAnswer(images=link.RunnerImages(images=map(_image_to_proto, answer)))


def answer_from_proto(message: link.ImageAnswer) -> ImageAnswer:
    """Parses a message of a runner. Raises InvalidInput."""
    match message.WhichOneof("message"):
        case "image":
            return _image_from_proto(message.image)
        case "progress":
            return progress_from_proto(message.progress)
        case "images":
            if len(message.images.images) > MAX_IMAGES:
                raise InvalidInput.of("images", f"{len(message.images.images)} are more than {MAX_IMAGES}")
            return tuple(map(_image_from_proto, message.images.images))
    raise InvalidInput.of("image", "the runner's answer is empty, or of a later version")


def _image_to_proto(image: Image) -> link.RunnerImage:
    return link.RunnerImage(
        reference=image.reference,
        digest=image.digest,
        size_bytes=image.size_bytes,
        architecture=image.architecture,
        create_time=time_to_proto(image.create_time),
        session_uids=image.sessions[:MAX_SESSIONS],
    )


def _image_from_proto(message: Any) -> Image:
    return Image(
        reference=word(message.reference, "reference"),
        digest=word(message.digest, "digest"),
        size_bytes=message.size_bytes,
        architecture=word(message.architecture, "architecture"),
        create_time=time_from_proto(message, "create_time"),
        sessions=words(message.session_uids, "session_uids", MAX_SESSIONS),
    )
