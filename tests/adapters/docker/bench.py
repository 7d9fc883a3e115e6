"""One session's containers on the real engine, made and ended by hand."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.domain.session.blueprint import Bind, Blueprint, blueprint
from netvps.domain.session.container import Container, SourceImage, Status
from netvps.domain.session.session import Assignment, DesiredState, SnapshotImage
from netvps.domain.session.spec import Network, SessionSpec
from netvps.domain.uid import make_uid
from tests.support.images import busybox_archive
from tests.support.patience import PATIENCE

CHANGES = [
    'ENTRYPOINT ["/bin/sh","-c"]', 'CMD ["echo hello"]', "USER nobody", "WORKDIR /tmp", "ENV A=1", "LABEL mine=yes",
    "EXPOSE 80",
]  # fmt: skip


class Bench:
    """One session's containers, made and ended by hand."""

    def __init__(self, docker: Docker, image: str, copies: Path) -> None:
        uid = make_uid(time.time_ns() // 1_000_000, secrets.randbits(24))
        self.docker = docker
        self.node = f"test{secrets.token_hex(6)}"
        self.engine = DockerEngine(docker, node=self.node, node_name="here", copies=copies)
        spec = SessionSpec(image=image, network=Network.NONE)
        self.assignment = Assignment(uid, "dev1", "ann", 1, 1, DesiredState.STOPPED, spec, None, 1)

    def plan_for(self, session_uid: str, source: SourceImage) -> Blueprint:
        """The definition of a session's container."""
        return blueprint(
            replace(self.assignment, session_uid=session_uid),
            source,
            node=self.node,
            machine_memory=1 << 30,
            agent=Path("/bin/sh"),
            run=Path("/tmp"),
            resolv_conf=Path("/tmp/x"),
        )

    async def lived(self, image: str, command: str) -> Container:
        """A container that ran a command, as process 1 in the agent's place, and ended."""
        plan = self.plan_for(self.assignment.session_uid, SourceImage(image))
        plan = replace(
            plan, entrypoint=("/bin/sh", "-c", command), binds=(Bind("/tmp", "/.netvps/run", read_only=True),)
        )
        await self.engine.create(plan)
        created = (await self.engine.inspect(self.assignment)).container
        assert created is not None
        await self.engine.start(created)
        async with asyncio.timeout(PATIENCE):
            while (
                found := (await self.engine.inspect(self.assignment)).container
            ) is None or found.status is not Status.EXITED:
                await asyncio.sleep(0.02)
        return found

    async def commit(self, uid: str, container: Container, *, flatten: bool) -> SnapshotImage:
        taken = await self.engine.commit(uid, self.assignment, container, flatten=flatten, given_up=lambda: False)
        assert taken is not None
        return taken

    async def config(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.docker.call(reference, lambda api: api.inspect_image(reference))
        return dict(found["Config"])

    async def containers(self) -> list[dict[str, Any]]:
        filters = {"label": f"netvps.session_id={self.assignment.session_uid}"}
        return list(await self.docker.call("containers", lambda api: api.containers(all=True, filters=filters)))

    async def images(self) -> list[dict[str, Any]]:
        filters = {"label": f"netvps.session_id={self.assignment.session_uid}"}
        found: list[dict[str, Any]] = await self.docker.call("images", lambda api: api.images(filters=filters))
        return found


@asynccontextmanager
async def opened_bench(folder: Path) -> AsyncIterator[Bench]:
    """A session on an image of busybox, whose copies are below `folder`; all is removed at the end."""
    docker = await Docker.open()
    image = f"netvps-test-{secrets.token_hex(4)}"
    await docker.call(
        image, lambda api: api.import_image_from_data(busybox_archive(), repository=image, tag="1", changes=CHANGES)
    )
    bench = Bench(docker, f"{image}:1", folder / "copies")
    try:
        yield bench
    finally:
        await bench.engine.erase(bench.assignment.session_uid)
        # By its id: under whatever names it has by now.
        await docker.call(image, lambda api: api.remove_image(api.inspect_image(f"{image}:1")["Id"], force=True))
        docker.close()
