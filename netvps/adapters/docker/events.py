"""Watches the engine's events and reports which container of a session or a task changed."""

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
from netvps.domain.runner.docker_names import LABEL_NODE, session_of, task_of

_AGAIN_MAX = 5.0
# Frequent (health checks, users), and without effect on the state.
_IGNORED = ("exec_", "top", "attach", "resize", "export", "archive-path", "extract-to-dir")
log = structlog.get_logger()


class Events:
    """The events of the containers of the runner with uid `node`."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._node = node
        self._filters = {"type": "container", "label": f"{LABEL_NODE}={node}"}

    async def watch(self, changed: Callable[[str], None]) -> None:
        """Calls `changed` with the id of a session or a task, or "" at each (re)connection and loss. Never returns."""
        loop = asyncio.get_running_loop()
        outage = _Outage()

        def connected() -> None:
            outage.end()
            changed("")  # events before this are unknown

        opened = partial(self._open, partial(loop.call_soon_threadsafe, connected))
        while True:
            try:
                async with aclosing(iterate(opened, "docker events")) as events:
                    async for event in events:
                        self._report(event, changed)
            except DockerError as error:
                lost = outage.begin(error)
            except LIBRARY_ERRORS as error:
                lost = outage.begin(mapped(error, "events"))
            else:
                lost = False  # a graceful end: the next attempt fails if the engine stopped
            if lost:
                changed("")
            await asyncio.sleep(outage.pause())

    def _open(self, connected: Callable[[], object]) -> Closable[Answer]:
        """Calls `connected` once the subscription is established; earlier would miss changes in between."""
        stream: Closable[Answer] = self._docker.stream_api.events(decode=True, filters=self._filters)
        connected()
        return stream

    def _report(self, event: Answer, changed: Callable[[str], None]) -> None:
        """Calls `changed` for an event; its attributes are the container's labels and name."""
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        name = str(attributes.get("name"))
        uid = session_of("container", name, attributes, self._node) or task_of(name, attributes, self._node)
        if uid and not str(event.get("Action", "")).startswith(_IGNORED):
            changed(str(uid))


class _Outage:
    """An outage of the engine: logged once, with its duration."""

    def __init__(self) -> None:
        self._failures = 0
        self._since: float | None = None

    def begin(self, error: DockerError) -> bool:
        """Records a failure; returns whether the outage begins with it."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        log.warning("Docker is unavailable; sessions are reconciled when it is back", error=error.message)
        return True

    def end(self) -> None:
        """Records that the engine answers."""
        if self._since is not None:
            log.info(
                "Docker is available again; inspecting all sessions", after=round(time.monotonic() - self._since, 1)
            )
        self._failures, self._since = 0, None

    def pause(self) -> float:
        """Returns the seconds until the next attempt."""
        self._failures += 1
        return min(_AGAIN_MAX, 0.2 * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 — no secret
