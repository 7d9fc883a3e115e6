"""Hooks of a session around its snapshots: the agent runs them, in the container."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import docker.errors
import structlog

from netvps.adapters.docker.client import Api
from netvps.adapters.docker.stream import close_response
from netvps.domain.checks import shown
from netvps.domain.session.blueprint import AGENT_PATH

_FOLDER: Final = "/etc/netvps/hooks"
_RESTORED: Final = ".restored"
"""As in tunnel/boot/hooks.go."""
_LIMIT: Final = 75.0
"""Seconds: the agent ends hooks after 60 by itself, unless a process of the session keeps it from that."""
_LOOK: Final = 0.5
_MOST: Final = 16 * 1024
_LINES: Final = 20
_LINE: Final = 200
"""Bytes, lines and characters of a line that are read: what runs in the container says what it likes."""
log = structlog.get_logger()


def run_before_snapshot(api: Api, container_id: str, given_up: Callable[[], bool]) -> tuple[str, ...]:
    """Runs the pre-snapshot hooks of a running container; returns a warning for each that failed. Blocks.

    A failure ends nothing: a snapshot with a warning is worth more than none.
    """
    try:
        made = api.exec_create(container_id, [AGENT_PATH, "pre-snapshot"], user="0", tty=True)
        output, ended = _output(api, made["Id"], given_up)
        code = api.exec_inspect(made["Id"])["ExitCode"] if ended else None
    except docker.errors.APIError as error:
        log.warning("pre-snapshot hooks not run", container=container_id[:12], error=str(error.explanation))
        return ("its pre-snapshot hooks were not run: Docker started no process in it",)
    if code is None:
        return () if given_up() else (f"its pre-snapshot hooks did not end within {_LIMIT:.0f} s",)
    if code:  # an agent from before there were hooks
        log.info("no pre-snapshot hooks", container=container_id[:12], code=code, output=shown(output))
        return ()
    return tuple(shown(line, _LINE)[1:-1] for line in output.splitlines()[:_LINES] if line.strip())


def mark_restored(container_id: str, how: str, api: Api) -> None:
    """Has the post-restore hooks of a container that never ran, if it has any, run at its first start. Blocks."""
    content = f"{how}\n".encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(_RESTORED)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    with suppress(docker.errors.NotFound):  # the folder: it has no hooks
        api.put_archive(container_id, _FOLDER, packed.getvalue())


def _output(api: Api, exec_id: str, given_up: Callable[[], bool]) -> tuple[str, bool]:
    """What the process printed, and whether it ended in time."""
    stream = api.exec_start(exec_id, tty=True, stream=True)
    deadline, ended, cut, data = time.monotonic() + _LIMIT, threading.Event(), False, b""

    def watch() -> None:
        nonlocal cut
        while not ended.wait(_LOOK):
            if time.monotonic() >= deadline or given_up():
                cut = True
                with suppress(OSError):  # it ended just now
                    stream.close()
                return

    watcher = threading.Thread(target=watch, name="hooks", daemon=True)
    watcher.start()
    try:
        for piece in stream:
            data = (data + piece)[:_MOST]
    finally:
        ended.set()
        watcher.join()
        close_response(stream)
    return data.decode(errors="replace"), not cut
