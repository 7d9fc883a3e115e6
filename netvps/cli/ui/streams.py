"""The standard streams of this process: also where one is closed, is full, or does not know a character."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Final

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def prepare() -> None:
    """Opens those that are closed, and lets none fail for a character that its encoding lacks.

    A closed descriptor would be taken by the next file that is opened. In its place comes /dev/null, opened so that
    writing to standard output fails, as it does for other programs.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 — as long as the process
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BufferedWriter(_Refusing()), encoding="utf-8")
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def output_problem(error: OSError) -> str | None:
    """The line for an error of writing to standard output; None if it is another error."""
    if error.filename is not None or error.errno not in _FULL:
        return None
    reason = "it is closed" if error.errno == errno.EBADF else (error.strerror or "it failed").lower()
    return f"cannot write to standard output: {reason}; part of the output is missing, write it elsewhere"


class _Refusing(io.RawIOBase):
    """A closed standard output."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, _data: object) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
