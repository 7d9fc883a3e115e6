"""Builds on the real engine; the checks of a context without one."""

from __future__ import annotations

import asyncio
import io
import secrets
import tarfile
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.environments import build as module
from netvps.adapters.docker.environments.build import Builds, check_context
from netvps.adapters.docker.errors import ImageBuildFailed, ImageNotFound
from netvps.adapters.docker.files.images import Images
from netvps.domain.image.login import Credential
from netvps.domain.image.work import BuildImage, ImageLog
from netvps.errors import Exhausted, InvalidInput
from tests.support.images import busybox_archive
from tests.support.patience import PATIENCE
from tests.support.registry import PASSWORD, USER, lacks_registry, registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def packed(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as output:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            output.addfile(entry, io.BytesIO(content))
        for entry in more:
            output.addfile(entry)
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def machine(*lines: str) -> bytes:
    """A context that makes a busybox, and does what the lines say."""
    dockerfile = "\n".join(("FROM scratch", "ADD root.tar /", *lines))
    return packed({"Dockerfile": dockerfile.encode(), "root.tar": busybox_archive()})


class Engine:
    """Builds on the engine here."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self.docker = docker
        self.images = Images(docker)
        self.builds = Builds(docker, self.images, folder)
        self.name = f"netvps/nve-{secrets.token_hex(4)}:latest"

    async def build(self, context: bytes, name: str = "") -> str:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(context), 65536):
                yield context[start : start + 65536]

        async with aclosing(self.builds.build(BuildImage(name or self.name), pieces())) as steps:
            return "".join([step.text async for step in steps if isinstance(step, ImageLog)])

    async def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.docker.call(name, lambda api: api.inspect_image(name))
        return found

    async def forget(self, *names: str) -> None:
        for name in names:
            try:
                await self.docker.call_slowly(name, lambda api, one=name: api.remove_image(one, force=True))  # type: ignore[misc]
            except ImageNotFound:
                continue


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    docker = await Docker.open()
    made = Engine(docker, tmp_path / "contexts")
    try:
        yield made
    finally:
        await made.forget(made.name)
        docker.close()


@pytest.mark.docker
async def test_an_image_is_built_and_what_it_replaces_is_removed(engine: Engine, tmp_path: Path) -> None:
    said = await engine.build(machine("RUN echo spoken while it builds", 'CMD ["/bin/sh"]'))
    assert "spoken while it builds\n" in said
    first = await engine.inspect(engine.name)
    assert first["Config"]["Cmd"] == ["/bin/sh"]
    await engine.build(machine("RUN echo another"))
    assert (await engine.inspect(engine.name))["Id"] != first["Id"]
    with pytest.raises(ImageNotFound):
        await engine.inspect(first["Id"])
    assert list((tmp_path / "contexts").iterdir()) == []


@pytest.mark.docker
async def test_a_step_that_fails_is_reported_in_the_builders_words(engine: Engine) -> None:
    with pytest.raises(ImageBuildFailed, match="exit 7") as failed:
        await engine.build(machine("RUN exit 7"))
    assert engine.name in str(failed.value)
    with pytest.raises(ImageNotFound):
        await engine.inspect(engine.name)


@pytest.mark.docker
async def test_a_build_that_is_left_or_takes_too_long_is_ended(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUILD_SECONDS", 3.0)
    with pytest.raises(ImageBuildFailed, match="within 3 s"):
        await engine.build(machine("RUN sleep 600"))
    async with asyncio.timeout(PATIENCE):  # its container ends with the connection
        while await engine.docker.call("ps", lambda api: [c for c in api.containers() if "sleep 600" in c["Command"]]):
            await asyncio.sleep(0.1)


@pytest.mark.docker
async def test_a_base_comes_from_a_registry_with_a_password(engine: Engine) -> None:
    if why := lacks_registry():
        pytest.skip(why)
    with registry(password=True) as address:
        base = f"{address}/base:1"
        await engine.build(machine(), base)
        login = {"username": USER, "password": PASSWORD}
        await engine.docker.call_slowly(base, lambda api: list(api.push(base, stream=True, auth_config=login)))
        await engine.forget(base)
        context = packed({"Dockerfile": f"FROM {base}\nRUN true\n".encode()})
        with pytest.raises(ImageBuildFailed):
            await engine.build(context)

        async def logins(host: str) -> Credential | None:
            return Credential(host, USER, PASSWORD) if host == address else None

        engine.images.logins = logins
        said = await engine.build(context)
        assert PASSWORD not in said + str(await engine.inspect(engine.name))
        await engine.forget(engine.name, base)


async def test_a_context_that_is_too_large_is_refused_before_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONTEXT", 1000)

    class Never:
        async def call(self, *_: object) -> None:
            raise ImageNotFound("none")

    builds = Builds(Never(), Never(), tmp_path)  # type: ignore[arg-type]

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield bytes(600)

    with pytest.raises(Exhausted, match=r"leave out what the build does not need, in a file \.dockerignore"):
        [step async for step in builds.build(BuildImage("netvps/a:b"), pieces())]


def test_a_dockerfile_is_found_by_its_path() -> None:
    context = packed({"Dockerfile": b"one", "sub/Other": b"two"}, member("link", tarfile.SYMTYPE, "/etc/passwd"))
    assert check_context(io.BytesIO(context), "Dockerfile") == b"one"
    assert check_context(io.BytesIO(context), "sub/Other") == b"two"
    with pytest.raises(InvalidInput, match="has no file link"):
        check_context(io.BytesIO(context), "link")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (member("/etc/passwd"), "leads out of it"),
        (member("a/../../b"), "leads out of it"),
        (member("device", tarfile.BLKTYPE), "neither a file nor a folder nor a link"),
        (member("pipe", tarfile.FIFOTYPE), "neither a file nor a folder nor a link"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_what_leads_out_of_a_context_is_refused(entry: tarfile.TarInfo, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_context(io.BytesIO(packed({"Dockerfile": b"FROM scratch"}, entry)), "Dockerfile")


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(100), packed({"a": bytes(5000)})[:2000]])
def test_a_damaged_context_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"no complete tar archive|has no file"):
        check_context(io.BytesIO(content), "Dockerfile")


def test_the_files_of_a_context_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_FILES", 3)
    with pytest.raises(InvalidInput, match="more than 3 files"):
        check_context(io.BytesIO(packed({str(number): b"" for number in range(5)})), "Dockerfile")
