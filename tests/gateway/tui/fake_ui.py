"""A warm process whose app obeys keys: s enters a session, q quits, z tells the size, e the environment, f floods,
b fails, i asks who it is. `python fake_ui.py --fd N --api PATH --parent PID`, as netvps.programs.terminal_ui."""

from __future__ import annotations

import os
import socket
import sys
import tty
from pathlib import Path
from typing import Any

from netvps.programs.terminal_ui import Warm


def show(api: str, request: dict[str, Any]) -> dict[str, str]:
    tty.setraw(0)
    say(f"UI term={os.environ['TERM']} page={request['page']} row={request['uid']} token={request['token']} api={api}")
    while (key := os.read(0, 1)) not in {b"q", b"s", b""}:
        match key:
            case b"z":
                size = os.get_terminal_size(0)
                say(f"size={size.columns}x{size.lines}")
            case b"e":
                say(f"environ={sorted(os.environ)} colour={os.environ.get('COLORTERM')}")
            case b"i":
                say(f"uid={os.getuid()} leader={os.getsid(0) == os.getpid()}")
            case b"f":
                while True:
                    os.write(1, b"x" * 65536)
            case b"b":
                raise RuntimeError("a bug")
    return {"session": "dev1.alice" if key == b"s" else "", "page": "sessions", "uid": "row7"}


def say(line: str) -> None:
    os.write(1, f"{line}\r\n".encode())


if __name__ == "__main__":
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    Warm(socket.socket(fileno=int(given["--fd"])), given["--api"], show, Path(__file__).parent).run()
