"""bpf(2): maps and programs. A kernel that cannot, or a machine that forbids it, raises OSError."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from contextlib import suppress
from typing import Final

HASH, LINKS = 1, 25
"""Kinds of maps. In that of links (DEVMAP_HASH) are indexes, and the kernel drops one as its link goes."""
KEY_BYTES: Final = 4
"""All our keys are IPv4 addresses."""
_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
"""Of the system call; where the other order of bytes is used, our code would be wrong anyway."""
_MAP_CREATE, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _INFO = 0, 2, 3, 5, 15
_NO_PREALLOC: Final = 1
_CLASSIFIER: Final = 3
_INSTRUCTION_BYTES: Final = 8
_LOG_BYTES: Final = 1 << 16
_LOG_LINES: Final = 3
_TRIES: Final = 5
"""The verifier stops where a signal comes, with EAGAIN."""
_libc: Final = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, asked: bytes) -> int:
    """The system call: a file descriptor, or 0; what `asked` points to is for the caller to keep. Raises OSError."""
    if (number := _NUMBERS.get(platform.machine())) is None:
        raise OSError(errno.ENOSYS, f"not known for {platform.machine()}")
    attributes = ctypes.create_string_buffer(asked, len(asked))
    arguments = (ctypes.c_long(number), ctypes.c_int(command), attributes, ctypes.c_uint(len(asked)))
    code = 0
    for _ in range(_TRIES):
        if (answer := int(_libc.syscall(*arguments))) >= 0:
            return answer
        if (code := ctypes.get_errno()) != errno.EAGAIN:
            break
    raise OSError(code, os.strerror(code))


class Map:
    """From addresses to values of `size` bytes. The kernel keeps it as long as a program or we have it open."""

    def __init__(self, kind: int, size: int, entries: int, name: str) -> None:
        """Makes it, empty; names have at most 15 characters. Raises OSError."""
        self._size = size
        flags = _NO_PREALLOC if kind == HASH else 0
        asked = struct.pack("=IIIIIII16s", kind, KEY_BYTES, size, entries, flags, 0, 0, name.encode())
        try:
            self.descriptor = bpf(_MAP_CREATE, asked)
        except PermissionError:  # before Linux 5.11 maps count as locked memory
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.descriptor = bpf(_MAP_CREATE, asked)

    def put(self, key: bytes, value: bytes) -> None:
        """Raises OSError: E2BIG where it is full, EINVAL where it is of links and there is none with this index."""
        what = ctypes.create_string_buffer(value, self._size)
        self._change(_MAP_UPDATE, key, ctypes.addressof(what))

    def drop(self, key: bytes) -> None:
        """What is gone is no error. Raises OSError."""
        with suppress(FileNotFoundError):
            self._change(_MAP_DELETE, key, 0)

    def close(self) -> None:
        """Programs that use it keep it."""
        os.close(self.descriptor)

    def _change(self, command: int, key: bytes, value: int) -> None:
        where = ctypes.create_string_buffer(key, KEY_BYTES)
        bpf(command, struct.pack("=IIQQQ", self.descriptor, 0, ctypes.addressof(where), value, 0))


class Program:
    """One that classifies packets; the kernel keeps it as long as it is attached or we have it open."""

    def __init__(self, code: bytes, name: str) -> None:
        """Loads it; names have at most 15 characters. Raises OSError, with the verifier's words if it has some."""
        try:
            self.descriptor = _loaded(code, name, None)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EACCES}:
                raise
            log = ctypes.create_string_buffer(_LOG_BYTES)
            try:
                self.descriptor = _loaded(code, name, log)
            except OSError:
                words = log.value.decode(errors="replace").strip().splitlines()[-_LOG_LINES:]
                raise OSError(error.errno, "; ".join(words) or error.strerror) from None
        self.id = _id(self.descriptor)

    def close(self) -> None:
        """It goes on where it is attached."""
        os.close(self.descriptor)


def _loaded(code: bytes, name: str, log: ctypes.Array[ctypes.c_char] | None) -> int:
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    said = (1, _LOG_BYTES, ctypes.addressof(log)) if log else (0, 0, 0)
    count = len(code) // _INSTRUCTION_BYTES
    return bpf(_PROG_LOAD, struct.pack("=IIQQIIQII16s", _CLASSIFIER, count, *places, *said, 0, 0, name.encode()))


def _id(descriptor: int) -> int:
    """By which others, such as the kernel's list of what is attached, know a program: after its kind."""
    told = ctypes.create_string_buffer(struct.calcsize("=II"))
    bpf(_INFO, struct.pack("=IIQ", descriptor, len(told), ctypes.addressof(told)))
    return int(struct.unpack("=II", told.raw)[1])
