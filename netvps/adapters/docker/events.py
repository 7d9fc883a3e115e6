"""Events of the engine: which session's container did something."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing

import structlog

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.errors import LIBRARY_ERRORS, DockerError, mapped
from netvps.adapters.docker.stream import Closable, iterate
from netvps.domain.docker_names import LABEL_NODE, LABEL_SESSION

_AGAIN_MAX = 10.0
# Of these there are many (health checks, people), and they change nothing.
_NO_NEWS = ("exec_", "top", "attach", "resize", "export", "archive-path", "extract-to-dir")
log = structlog.get_logger()


class Events:
    """Events of the containers of the runner `node`."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._filters = {"type": "container", "label": f"{LABEL_NODE}={node}"}

    async def watch(self, changed: Callable[[str], None]) -> None:
        """For ever calls `changed` with a session's uid, and with "" after each connection."""
        failures = 0
        while True:
            try:
                async with aclosing(iterate(self._open, "docker events")) as events:
                    changed("")
                    async for event in events:
                        failures = 0
                        self._tell(event, changed)
            except DockerError as error:
                log.warning("no events of the engine", error=error.message)
            except LIBRARY_ERRORS as error:
                log.warning("no events of the engine", error=mapped(error, "events").message)
            failures += 1
            pause = min(_AGAIN_MAX, 0.2 * 2.0 ** min(failures, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 — no secret

    def _open(self) -> Closable[Answer]:
        stream: Closable[Answer] = self._docker.stream_api.events(decode=True, filters=self._filters)
        return stream

    @staticmethod
    def _tell(event: Answer, changed: Callable[[str], None]) -> None:
        uid = (event.get("Actor") or {}).get("Attributes", {}).get(LABEL_SESSION)
        if uid and not str(event.get("Action", "")).startswith(_NO_NEWS):
            changed(str(uid))
