"""Creates BPF maps and loads programs by bpf(2). Raises OSError where the kernel lacks a feature or forbids it."""

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
"""Map types. LINKS is DEVMAP_HASH: values are interface indexes, and the kernel deletes an entry with its interface."""
KEY_BYTES: Final = 4
"""All keys are IPv4 addresses."""
_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
"""System call numbers by architecture. All are little-endian; the generated code assumes it."""
_MAP_CREATE, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _INFO = 0, 2, 3, 5, 15
_NO_PREALLOC: Final = 1
_CLASSIFIER: Final = 3
_INSTRUCTION_BYTES: Final = 8
_LOG_BYTES: Final = 1 << 16
_LOG_LINES: Final = 3
_TRIES: Final = 5
"""The verifier returns EAGAIN when a signal arrives."""
_libc: Final = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, asked: bytes) -> int:
    """Does the system call; returns a descriptor or 0. The caller keeps what `asked` points to. Raises OSError."""
    if (number := _NUMBERS.get(platform.machine())) is None:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) is not known for {platform.machine()}")
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
    """A map from IPv4 addresses to values of `size` bytes. It lives while a program or this process has it open."""

    def __init__(self, kind: int, size: int, entries: int, name: str) -> None:
        """Creates it, empty. `name` has at most 15 characters. Raises OSError."""
        self._size = size
        flags = _NO_PREALLOC if kind == HASH else 0
        asked = struct.pack("=IIIIIII16s", kind, KEY_BYTES, size, entries, flags, 0, 0, name.encode())
        try:
            self.descriptor = bpf(_MAP_CREATE, asked)
        except PermissionError:  # before Linux 5.11, maps are charged to RLIMIT_MEMLOCK
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.descriptor = bpf(_MAP_CREATE, asked)

    def put(self, key: bytes, value: bytes) -> None:
        """Sets an entry. Raises OSError: E2BIG if the map is full, EINVAL for an unknown interface in LINKS."""
        what = ctypes.create_string_buffer(value, self._size)
        self._change(_MAP_UPDATE, key, ctypes.addressof(what))

    def drop(self, key: bytes) -> None:
        """Deletes an entry; a missing one is ignored. Raises OSError."""
        with suppress(FileNotFoundError):
            self._change(_MAP_DELETE, key, 0)

    def close(self) -> None:
        """Closes the descriptor; programs that use the map keep it."""
        os.close(self.descriptor)

    def _change(self, command: int, key: bytes, value: int) -> None:
        where = ctypes.create_string_buffer(key, KEY_BYTES)
        bpf(command, struct.pack("=IIQQQ", self.descriptor, 0, ctypes.addressof(where), value, 0))


class Program:
    """A classifier program. It lives while it is attached or this process has it open."""

    def __init__(self, code: bytes, name: str) -> None:
        """Loads it. `name` has at most 15 characters. Raises OSError, with the verifier's last lines."""
        try:
            self.descriptor = _loaded(code, name, None)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EACCES}:
                raise
            log = ctypes.create_string_buffer(_LOG_BYTES)
            try:
                self.descriptor = _loaded(code, name, log)
            except OSError:
                lines = log.value.decode(errors="replace").strip().splitlines()[-_LOG_LINES:]
                raise OSError(error.errno, "; ".join(lines) or error.strerror) from None
        self.id = _id(self.descriptor)

    def close(self) -> None:
        """Closes the descriptor; the program stays where it is attached."""
        os.close(self.descriptor)


def _loaded(code: bytes, name: str, log: ctypes.Array[ctypes.c_char] | None) -> int:
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    logging = (1, _LOG_BYTES, ctypes.addressof(log)) if log else (0, 0, 0)
    count = len(code) // _INSTRUCTION_BYTES
    return bpf(_PROG_LOAD, struct.pack("=IIQQIIQII16s", _CLASSIFIER, count, *places, *logging, 0, 0, name.encode()))


def _id(descriptor: int) -> int:
    """Returns the program's id, by which the kernel lists attachments: the second field of struct bpf_prog_info."""
    info = ctypes.create_string_buffer(struct.calcsize("=II"))
    bpf(_INFO, struct.pack("=IIQ", descriptor, len(info), ctypes.addressof(info)))
    return int(struct.unpack("=II", info.raw)[1])
