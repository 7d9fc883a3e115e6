"""Events of the engine: which session's container did something."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import structlog

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.errors import LIBRARY_ERRORS, DockerError, mapped
from netvps.adapters.docker.stream import Closable, iterate
from netvps.domain.docker_names import LABEL_NODE, session_of

_AGAIN_MAX = 5.0
# Of these there are many (health checks, people), and they change nothing.
_NO_NEWS = ("exec_", "top", "attach", "resize", "export", "archive-path", "extract-to-dir")
log = structlog.get_logger()


class Events:
    """Events of the containers of the runner `node`."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._node = node
        self._filters = {"type": "container", "label": f"{LABEL_NODE}={node}"}

    async def watch(self, changed: Callable[[str], None]) -> None:
        """For ever calls `changed` with a session's uid; with "" after each connection, and when that is lost."""
        loop = asyncio.get_running_loop()
        away = _Away()

        def connected() -> None:
            away.over()
            changed("")  # anything may have happened before

        opened = partial(self._open, partial(loop.call_soon_threadsafe, connected))
        while True:
            try:
                async with aclosing(iterate(opened, "docker events")) as events:
                    async for event in events:
                        self._tell(event, changed)
            except DockerError as error:
                news = away.noted(error)
            except LIBRARY_ERRORS as error:
                news = away.noted(mapped(error, "events"))
            else:
                news = False  # the engine ends in order: the next try tells
            if news:
                changed("")
            await asyncio.sleep(away.pause())

    def _open(self, connected: Callable[[], object]) -> Closable[Answer]:
        """Calls `connected` once nothing can be missed any more; not before, or what happens meanwhile would be."""
        stream: Closable[Answer] = self._docker.stream_api.events(decode=True, filters=self._filters)
        connected()
        return stream

    def _tell(self, event: Answer, changed: Callable[[str], None]) -> None:
        """The attributes of an event are the container's labels, and its name."""
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        uid = session_of("container", str(attributes.get("name")), attributes, self._node)
        if uid and not str(event.get("Action", "")).startswith(_NO_NEWS):
            changed(str(uid))


class _Away:
    """An engine that does not answer: said once, and how long it was."""

    def __init__(self) -> None:
        self._failures = 0
        self._since: float | None = None

    def noted(self, error: DockerError) -> bool:
        """It does not answer; whether that is news."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        log.warning("Docker is away; sessions are looked after again when it is back", error=error.message)
        return True

    def over(self) -> None:
        """It answers."""
        if self._since is not None:
            log.info("Docker is back; looking at all sessions", after=round(time.monotonic() - self._since, 1))
        self._failures, self._since = 0, None

    def pause(self) -> float:
        """Seconds until it is asked again."""
        self._failures += 1
        return min(_AGAIN_MAX, 0.2 * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 — no secret
