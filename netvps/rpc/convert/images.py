"""Images for callers, and the messages between runners and the control plane about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from netvps.api.v1 import image_pb2 as pb
from netvps.api.v1 import link_image_pb2 as link
from netvps.domain.checks import Checks
from netvps.domain.image.image import DefaultImage, Image, ImageProgress, ImageView
from netvps.domain.image.reference import LATEST, check_reference
from netvps.domain.image.work import (
    BootstrapImage,
    BuildImage,
    DeleteImage,
    ImageLog,
    ListImages,
    PublishImage,
    PullImage,
)
from netvps.domain.names import ENVIRONMENT_NAME_MAX, check_label
from netvps.domain.pieces import MAX_PIECE
from netvps.domain.runner.docker_names import environment_image
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.texts import sentence, word, words
from netvps.rpc.convert.times import duration_from_proto, duration_to_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from netvps.domain.image.work import ImageAnswer, ImageWork

MAX_IMAGES: Final = 256
"""Maximum images in one message of a runner."""
LOG_MAX: Final = 16_384
"""Maximum characters of a builder's words in one message."""
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


def made_from_proto(message: Any) -> ImageProgress | ImageLog | ImageView:
    """A message of a pull, a build or a bootstrap, as a client reads it."""
    match message.WhichOneof("message"):
        case "image":
            return view_from_proto(message.image)
        case "log":
            return ImageLog(message.log)
    return progress_from_proto(message.progress)


def made_to_proto(answer: ImageProgress | ImageLog | ImageView) -> dict[str, Any]:
    """The fields of such a message."""
    match answer:
        case ImageProgress():
            return {"progress": progress_to_proto(answer)}
        case ImageLog(text):
            return {"log": text}
        case ImageView():
            return {"image": view_to_proto(answer)}


def build_from_proto(message: pb.BuildImageRequest) -> tuple[str, BuildImage]:
    """Parses the first message of a build into the NAME of the runner and the work. Raises InvalidInput."""
    if message.WhichOneof("message") != "start":
        raise InvalidInput.of("start", "the first message must have it")
    start, checks = message.start, Checks()
    runner, reference, work = "", "", BuildImage("")
    with checks.nested():
        runner = names.parse_runner_name(start.parent, "start.parent")
    with checks.nested():
        name = check_label(start.environment_id, "start.environment_id", ENVIRONMENT_NAME_MAX)
        reference = check_reference(environment_image(name, start.tag or LATEST), "start.tag")
    with checks.nested("start"):
        work = BuildImage(reference, start.dockerfile or work.dockerfile)
    checks.done()
    return runner, work


def context_piece(message: pb.BuildImageRequest) -> bytes:
    """The bytes of a further message of a build. Raises InvalidInput."""
    if message.WhichOneof("message") != "data" or len(message.data) > MAX_PIECE:
        raise InvalidInput.of("data", f"a message after the first has up to {MAX_PIECE} bytes of the context")
    return message.data


def publish_from_proto(request: pb.PublishImageRequest) -> tuple[str, PublishImage]:
    """Parses a request into NAME[.OWNER] of the session and the work, without its uid. Raises InvalidInput."""
    checks, session, work = Checks(), "", None
    with checks.nested():
        session = names.parse_session_name(request.session, "session")
    with checks.nested():
        work = PublishImage("", request.environment_id, request.tag or LATEST)
    checks.done()
    assert work is not None  # noqa: S101 — parsed
    return session, work


def bootstrap_from_proto(request: pb.BootstrapImageRequest) -> tuple[str, BootstrapImage]:
    """Parses a request into the NAME of the runner and the work. Raises InvalidInput."""
    checks, runner, work = Checks(), "", None
    with checks.nested():
        runner = names.parse_runner_name(request.parent, "parent")
    with checks.nested():
        work = BootstrapImage(request.environment_id, request.suite, request.mirror)
    checks.done()
    assert work is not None  # noqa: S101 — parsed
    return runner, work


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
        case BuildImage(reference, dockerfile):
            return link.ImageWork(build=link.BuildRunnerImage(reference=reference, dockerfile=dockerfile))
        case PublishImage(session, name, tag):
            return link.ImageWork(publish=link.PublishRunnerImage(session_uid=session, environment_id=name, tag=tag))
        case BootstrapImage(name, suite, mirror):
            return link.ImageWork(bootstrap=link.BootstrapRunnerImage(environment_id=name, suite=suite, mirror=mirror))


def work_from_proto(message: link.ImageWork) -> ImageWork | None:  # noqa: PLR0911 — one answer per kind of work
    """A request; None if it asks for what this version does not know."""
    match message.WhichOneof("work"):
        case "list":
            return ListImages(message.list.reference)
        case "delete":
            return DeleteImage(message.delete.reference)
        case "pull":
            return PullImage(message.pull.reference)
        case "build":
            return BuildImage(message.build.reference, message.build.dockerfile)
        case "publish":
            wanted = message.publish
            session = names.check_uid(wanted.session_uid, "session_uid")
            return PublishImage(session, wanted.environment_id, wanted.tag)
        case "bootstrap":
            order = message.bootstrap
            return BootstrapImage(order.environment_id, order.suite, order.mirror)
    return None


def answer_to_proto(answer: ImageAnswer) -> link.ImageAnswer:
    """A message of a runner."""
    match answer:
        case Image():
            return link.ImageAnswer(image=_image_to_proto(answer))
        case ImageProgress():
            return link.ImageAnswer(progress=progress_to_proto(answer))
        case ImageLog(text):
            return link.ImageAnswer(log=text[:LOG_MAX])
        case tuple():
            return link.ImageAnswer(images=link.RunnerImages(images=map(_image_to_proto, answer)))


def answer_from_proto(message: link.ImageAnswer) -> ImageAnswer:
    """Parses a message of a runner. Raises InvalidInput."""
    match message.WhichOneof("message"):
        case "image":
            return _image_from_proto(message.image)
        case "progress":
            return progress_from_proto(message.progress)
        case "log":
            return ImageLog(message.log[:LOG_MAX])
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
