"""The warm process of the terminal UI over SSH and in browsers: imports it once, and forks a process for each viewer.

It is single-threaded and has no event loop, so that forking it is safe. Requests come as JSON on an inherited socket,
each with two file descriptors: the viewer's terminal, and a pipe for how the app ended. The token of the viewer comes
in the request, so it is in no argument and no environment.

A process for a viewer leads a session of its own on its terminal, has an environment made for it, and gives up what it
does not need: the account (if that is root), more memory and files than it needs, and new privileges.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import termios
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps.client import Endpoint
from netvps.errors import NetvpsError
from netvps.process.process import die_with
from netvps.rpc.client import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MEMORY: Final = 512 << 20
"""Bytes of private memory of one viewer's process; it uses about a tenth."""
_FILES: Final = 256
_NICE: Final = 2
"""Less than the server and the gateway get, more than work that is not urgent."""
_GARBAGE: Final = 50_000
"""Objects between two collections: the app makes many at its start, and no garbage."""
_REQUEST: Final = 16 * 1024
_PR_SET_NO_NEW_PRIVS: Final = 38
_UNPRIVILEGED: Final = 65534
"""Account and group that own nothing: the kernel's overflow id."""
_ENTERED: Final = 0o001
"""Mode of a folder that everyone may pass through."""
_UNIX: Final = "unix:"
_READABLE: Final = 0o005
"""Mode of a folder that everyone may read."""
_UI: Final = "netvps_tui"
"""A package of its own, which an installation may lack; the server offers no terminal UI then."""


def show(api: str, request: dict[str, Any]) -> dict[str, str]:
    """Runs the terminal UI on the standard streams; returns the session that gets the terminal, and the place."""
    ui, connect = import_module(f"{_UI}.run"), import_module(f"{_UI}.connect")
    place = connect.Place(request["page"] or "sessions", request["uid"])
    endpoint = Endpoint(api, request["ca"] or None, request["token"])
    try:
        left = ui.run(
            endpoint, connect=connect.HandOverTerminal(), place=place, title=request["title"] or socket.gethostname()
        )
    except NetvpsError as error:
        sys.stderr.write(f"netvps: {error}\r\n")
        return {"session": "", "page": "", "uid": ""}
    if left is None:
        return {"session": "", "page": "", "uid": ""}
    return {"session": left.name, "page": left.place.page, "uid": left.place.uid}


def warm() -> None:
    """Imports whatever the app imports, also what it imports later: it may not be able to read files then."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            _try_out()
        except BaseException:  # noqa: BLE001 — only slower: viewers' processes import what is missing, if they can
            traceback.print_exc()
        finally:
            with os.fdopen(writing, "w") as pipe:
                pipe.write("\n".join(sys.modules))
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        names = pipe.read().split("\n")
    os.wait()
    for name in names:
        if name and not name.startswith(("__main__", "netvps.programs")):
            with suppress(Exception):
                import_module(name)
    try:
        import_module(f"{_UI}.run").rehearse()
    except Exception as error:  # noqa: BLE001 — viewers are only slower
        print(f"netvps: the terminal UI starts slower: its rehearsal failed: {error!r}", file=sys.stderr)  # noqa: T201


def _try_out() -> None:
    """Runs the app for a moment without a terminal and without a server."""
    connect = import_module(f"{_UI}.connect")
    app = import_module(f"{_UI}.app").NetvpsApp(
        Endpoint("unix:/nowhere"), connect.HandOverTerminal(), read_only=False, title="", place=connect.Place()
    )

    async def run() -> None:
        async with app.run_test() as pilot:
            await pilot.press("question_mark")
            await pilot.pause(0.2)

    import_module("textual.drivers.linux_driver")  # the one without a terminal does not import it
    for name in calls.__all__:  # without a server hardly any call is made, and each is imported when it is
        import_module(f"{calls.__name__}.{name}")
    asyncio.run(run())


class Warm:
    """Forks a process for each request, until the socket is closed."""

    def __init__(
        self, sock: socket.socket, api: str, app: Callable[[str, dict[str, Any]], dict[str, str]], files: Path
    ) -> None:
        """`files` is the folder with the files of the app, which viewers' processes have to read."""
        self._files = files
        self._sock = sock
        self._api = api
        self._app = app
        self._children: set[int] = set()

    def run(self) -> None:
        """Serves."""
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken)
        self._sock.send(b"{}")
        while True:
            ready, _, _ = select.select([self._sock.fileno(), wake], [], [])
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
                self._reap()
            if self._sock.fileno() in ready and not self._serve():
                return

    def _serve(self) -> bool:
        text, descriptors, _, _ = socket.recv_fds(self._sock, _REQUEST, 2)
        if not text:
            return False
        request = json.loads(text)
        if pid := request.get("kill"):
            if pid in self._children:
                os.kill(pid, signal.SIGKILL)
            return True
        terminal, result = descriptors
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._sock.close()
            try:
                self._view(parent, terminal, result, request)
            finally:
                os._exit(0)
        os.close(terminal)
        os.close(result)
        self._children.add(pid)
        self._sock.send(json.dumps({"pid": pid}).encode())
        return True

    def _view(self, parent: int, terminal: int, result: int, request: dict[str, Any]) -> None:
        """Runs the app in the new process. The pipe is closed last: the terminal is read until then."""
        log = os.dup(2)
        with os.fdopen(result, "w") as pipe:
            try:
                api = _reachable(self._api)
                _become_viewer(parent, terminal, request, self._files)
                pipe.write(json.dumps(self._app(api, request)))
            except BaseException:  # noqa: BLE001 — a bug, for the log and not for the viewer
                os.write(log, traceback.format_exc().encode())
                os.write(1, b"netvps: the terminal UI failed; the server's log says why\r\n")

    def _reap(self) -> None:
        while self._children:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children.discard(pid)


def _reachable(api: str) -> str:
    """An address of the API that also leads to its socket with an account that may not enter the folders before it."""
    if not api.startswith(_UNIX):
        return api
    path = Path(api.removeprefix(_UNIX))
    try:
        if path.parent.stat().st_mode & _ENTERED:  # through its folder, where the socket of a later server will be, too
            return f"{_UNIX}/proc/self/fd/{os.open(path.parent, os.O_PATH | os.O_DIRECTORY)}/{path.name}"
        return f"{_UNIX}/proc/self/fd/{os.open(path, os.O_PATH)}"
    except OSError:  # the server is gone, which the app says better
        return api


def _become_viewer(parent: int, terminal: int, request: dict[str, Any], files: Path) -> None:
    """Makes this process the leader of a session on the terminal, with an environment and limits of its own."""
    os.setsid()
    for stream in range(3):
        os.dup2(terminal, stream)
    os.close(terminal)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update({"TERM": request["term"], "LANG": "C.UTF-8", "HOME": "/", **request["environ"]})
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    if os.geteuid() == 0 and _all_may_read(files):
        os.chdir("/")
        os.setgroups([])
        os.setresgid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
        os.setresuid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    die_with(parent, signal.SIGKILL)  # after the change of account, which resets it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _all_may_read(files: Path) -> bool:
    """Whether an unprivileged account can read the app's files."""
    return all(each.stat().st_mode & _READABLE == _READABLE for each in (files, *files.parents))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the warm process; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket for requests")
    parser.add_argument("--api", required=True, help="the API's address: unix:PATH or HOST:PORT")
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args(argv)
    die_with(given.parent, signal.SIGKILL)
    gc.set_threshold(_GARBAGE)
    warm()
    gc.collect()
    gc.freeze()  # so that collections in viewers' processes do not copy the memory that they share
    files = Path(import_module(_UI).__file__ or "").parent
    Warm(socket.socket(fileno=given.fd), given.api, show, files).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
