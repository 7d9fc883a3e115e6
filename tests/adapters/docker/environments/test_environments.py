"""Images on the real engine, pulled from a real registry."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import secrets
import tarfile
import time
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.environments import environments as module
from netvps.adapters.docker.environments.environments import Environments, _names, _sessions
from netvps.adapters.docker.errors import (
    ImageBuildFailed,
    ImageForbidden,
    ImageForOtherMachine,
    ImageInUse,
    ImageNotFound,
    RegistryUnavailable,
)
from netvps.adapters.docker.files.images import Contents, Images
from netvps.domain.image.image import Image, ImageProgress
from netvps.domain.image.login import Credential
from netvps.domain.image.work import BootstrapImage
from netvps.domain.runner.docker_names import container_name, session_labels
from netvps.errors import Unavailable
from tests.support.registry import PASSWORD, USER, lacks_registry, registry, silent_registry, stalling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

UID = "0000000000001"


def archive(reference: str, architecture: str) -> bytes:
    """An image of one small layer, as `docker save` writes it."""
    layer = _tar({"file": secrets.token_bytes(100_000)})
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    files = {"config.json": config, "manifest.json": manifest}
    return _tar({name: json.dumps(value).encode() for name, value in files.items()} | {"layer.tar": layer})


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as output:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            output.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Engine:
    """Environments of the engine here, and images to pull."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self.docker = docker
        self.images = Images(docker, silence_seconds=2)
        self.environments = Environments(docker, self.images, Contents(), folder)
        self.made: list[str] = []

    async def make(self, reference: str, architecture: str = "amd64") -> str:
        self.made.append(reference)
        content = archive(reference, architecture)
        await self.docker.call_slowly(reference, lambda api: list(api.load_image(content)))
        return reference

    async def push(self, reference: str, **login: str) -> None:
        def work(api: Any) -> None:
            for line in api.push(reference, stream=True, decode=True, auth_config=login or None):
                assert "error" not in line, line

        await self.docker.call_slowly(reference, work)

    async def forget(self, *references: str) -> None:
        def work(api: Any) -> None:
            for reference in references:
                with suppress(docker.errors.ImageNotFound):
                    api.remove_image(reference, force=True)

        await self.docker.call_slowly("images", work)

    async def pull(self, reference: str) -> list[Image | ImageProgress]:
        async with aclosing(self.environments.pull_image(reference)) as steps:
            return [step async for step in steps]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    opened = await Docker.open()
    made = Engine(opened, tmp_path)
    try:
        yield made
    finally:
        await made.forget(*made.made)
        opened.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if why := lacks_registry():
        pytest.skip(why)
    with registry() as address:
        yield address


@pytest.mark.docker
async def test_an_image_comes_from_its_registry_with_progress_and_is_listed(engine: Engine, server: str) -> None:
    name = await engine.make(f"{server}/tools:{secrets.token_hex(4)}")
    (before,) = await engine.environments.list_images(name)
    await engine.push(name)
    await engine.forget(name)
    assert await engine.environments.list_images(name) == ()
    *steps, made = await engine.pull(name)
    assert isinstance(made, Image)
    assert (made.reference, made.digest, made.architecture, made.sessions) == (name, before.digest, "amd64", ())
    assert made.size_bytes >= 100_000
    last = steps[-1]
    assert isinstance(last, ImageProgress)
    assert (last.message, last.done_layers, last.total_layers) == (f"pulling {name}", 1, 1)
    assert made in await engine.environments.list_images()


@pytest.mark.docker
async def test_each_failure_of_a_pull_says_what_it_is(engine: Engine, server: str) -> None:
    with pytest.raises(ImageNotFound, match="neither on this machine nor in its registry"):
        await engine.pull(f"{server}/none:1")
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        await engine.pull("127.0.0.1:9/none:1")
    begin = time.monotonic()
    with silent_registry() as address, pytest.raises(RegistryUnavailable, match="nothing came from its registry"):
        await engine.pull(f"{address}/none:1")
    assert time.monotonic() - begin < 15


@pytest.mark.docker
async def test_a_registry_that_stalls_in_mid_pull_is_named_in_time_and_a_retry_works(
    engine: Engine, server: str
) -> None:
    with stalling(server, 20_000) as (address, flows):
        name = await engine.make(f"{address}/tools:{secrets.token_hex(4)}")
        await engine.push(name)
        await engine.forget(name)
        begin = time.monotonic()
        with pytest.raises(RegistryUnavailable, match=f"image {name}: nothing came from its registry for 2 s; retry"):
            await engine.pull(name)
        assert time.monotonic() - begin < 15
        assert await engine.environments.list_images(name) == ()
        flows.set()
        assert isinstance((await engine.pull(name))[-1], Image)


@pytest.mark.docker
async def test_a_registry_with_a_password_is_pulled_from_with_its_login_alone(engine: Engine) -> None:
    if why := lacks_registry():
        pytest.skip(why)
    given: dict[str, Credential] = {}
    asked: list[str] = []

    async def logins(host: str) -> Credential | None:
        asked.append(host)
        if host == "127.0.0.1:9":
            raise Unavailable("the control plane is away")
        return given.get(host)

    engine.images.logins = logins
    with registry(password=True) as address:
        name = await engine.make(f"{address}/tools:{secrets.token_hex(4)}")
        await engine.push(name, username=USER, password=PASSWORD)
        await engine.forget(name)
        for wrong in (None, Credential(address, USER, "wrong"), Credential(address, "wrong", PASSWORD)):
            given = {address: wrong} if wrong else {}
            with pytest.raises(ImageForbidden, match="requires a login, or refuses the one that it has") as refused:
                await engine.pull(name)
            assert PASSWORD not in str(refused.value)
        given = {address: Credential(address, USER, PASSWORD)}
        assert isinstance((await engine.pull(name))[-1], Image)
        found = await engine.docker.call(name, lambda api: api.inspect_image(name))
        assert PASSWORD not in json.dumps(found)
        with pytest.raises(ImageNotFound):  # with the login, the registry says that
            await engine.pull(f"{address}/none:1")
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):  # and not that the login is
        await engine.pull("127.0.0.1:9/none:1")
    assert set(asked) == {address, "127.0.0.1:9"}


@pytest.mark.docker
async def test_an_image_for_another_architecture_is_refused_and_not_kept(engine: Engine, server: str) -> None:
    name = await engine.make(f"{server}/other:{secrets.token_hex(4)}", "s390x")
    (listed,) = await engine.environments.list_images(name)
    assert listed.architecture == "s390x"
    with pytest.raises(ImageForOtherMachine, match="is for s390x, and this runner's machine is amd64"):
        await engine.images.require_runnable(name)
    await engine.push(name)
    await engine.forget(name)
    with pytest.raises(ImageForOtherMachine):
        await engine.pull(name)
    assert await engine.environments.list_images(name) == ()


@pytest.mark.docker
async def test_an_image_that_a_container_uses_is_kept_and_its_session_is_named(engine: Engine) -> None:
    name = await engine.make(f"nve-used:{secrets.token_hex(4)}")

    def create(api: Any) -> str:
        labels = session_labels(UID, "node", 1, 1)
        return str(api.create_container(name, name=container_name(UID), labels=labels)["Id"])

    container = await engine.docker.call(name, create)
    try:
        (found,) = await engine.environments.list_images(name)
        assert found.sessions == (UID,)
        with pytest.raises(ImageInUse, match="remove what uses it first"):
            await engine.environments.delete_image(name)
    finally:
        await engine.docker.call(name, lambda api: api.remove_container(container))
    await engine.environments.delete_image(name)
    with pytest.raises(ImageNotFound):
        await engine.environments.delete_image(name)


def test_snapshots_and_nameless_images_are_not_environments() -> None:
    tags = ["netvps-snapshot/vps-0000000000001:1", "netvps-unfinished/vps-0000000000001:x", "netvps-env-a:run"]
    assert _names({"RepoTags": [*tags, "debian:12", "<none>:<none>"]}) == ["debian:12"]
    assert _names({"RepoTags": None, "RepoDigests": ["debian@sha256:1"]}) == ["debian@sha256:1"]
    assert _names({"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}) == []


def test_only_containers_with_the_name_of_a_session_count() -> None:
    class Api:
        def containers(self, **_: object) -> list[dict[str, Any]]:
            labels = session_labels(UID, "node", 1, 1)
            ours = {"Names": [f"/{container_name(UID)}"], "Labels": labels, "ImageID": "a"}
            return [ours, {"Names": ["/copy"], "Labels": labels, "ImageID": "b"}, {"Names": None, "ImageID": "c"}]

    assert dict(_sessions(Api())) == {"a": {UID}}


async def test_a_bootstrap_reports_its_progress_and_its_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = Image("netvps/deb:latest", "sha256:1", 7, "amd64", datetime(2026, 1, 2, tzinfo=UTC))
    asked: list[tuple[str, str, str]] = []

    async def bootstrap(_: object, name: str, progress: Callable[[str], None], *, suite: str, mirror: str) -> str:
        asked.append((name, suite, mirror))
        for number in range(20):  # more than are kept
            progress(f"unpacking packages: {number}")
        await asyncio.sleep(0)
        if suite == "none":
            raise ImageBuildFailed("debootstrap failed: no such release")
        return made.reference

    async def found(reference: str = "") -> tuple[Image, ...]:
        return (made,) if reference == made.reference else ()

    monkeypatch.setattr(module, "bootstrap", bootstrap)
    environments = Environments(Docker(), Images(Docker()), Contents(), tmp_path)
    monkeypatch.setattr(environments, "list_images", found)
    steps = [step async for step in environments.bootstrap_image(BootstrapImage("deb", "bookworm", "http://m/deb"))]
    assert (asked[0], steps[0], steps[-1]) == (
        ("deb", "bookworm", "http://m/deb"),
        ImageProgress("unpacking packages: 0"),
        made,
    )
    with pytest.raises(ImageBuildFailed, match="no such release"):
        [step async for step in environments.bootstrap_image(BootstrapImage("deb", "none"))]
