"""What the kernel has and does, asked without the code under test: maps, and one packet through a program."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

REDIRECTED = 7
SLOW_PATH = 0xFFFFFFFF
_NUMBER = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_LOOKUP, _NEXT, _RUN, _PROGRAM_BY_ID, _MAP_BY_ID, _INFO = 1, 4, 10, 13, 14, 15
_CONTEXT_BYTES = 192
_LINK_AT, _SEGMENT_AT = 40, 176
_MOST = 2048
_MAPS = 8
_libc = ctypes.CDLL(None, use_errno=True)


def run(program: int, frame: bytes, link: int, segment: int = 0) -> tuple[int, bytes]:
    """What a program, by its descriptor, says of a frame that comes in by a link of ours, and what it makes of it."""
    there, back = ctypes.create_string_buffer(frame, len(frame)), ctypes.create_string_buffer(_MOST)
    context = ctypes.create_string_buffer(_CONTEXT_BYTES)
    struct.pack_into("=I", context, _LINK_AT, link)
    struct.pack_into("=I", context, _SEGMENT_AT, segment)
    asked = bytearray(
        struct.pack(
            "=IIIIQQIIIIQQ",
            *(program, 0, len(frame), _MOST, ctypes.addressof(there), ctypes.addressof(back)),
            *(1, 0, _CONTEXT_BYTES, 0, ctypes.addressof(context), 0),
        )
    )
    _bpf(_RUN, asked)
    _, said, _, size = struct.unpack_from("=IIII", asked)
    return said, back.raw[:size]


def maps_of(program: int) -> dict[str, dict[bytes, bytes]]:
    """What the maps of an attached program (an id) have, by their names."""
    descriptor = _bpf(_PROGRAM_BY_ID, bytearray(struct.pack("=III", program, 0, 0)))
    try:
        numbers = ctypes.create_string_buffer(4 * _MAPS)
        buffer = ctypes.create_string_buffer(64)
        struct.pack_into("=IQ", buffer, 52, _MAPS, ctypes.addressof(numbers))
        _info(descriptor, buffer)
        (count,) = struct.unpack_from("=I", buffer, 52)
        return dict(map(_map, struct.unpack_from(f"={count}I", numbers)))
    finally:
        os.close(descriptor)


def items(descriptor: int, size: int) -> dict[bytes, bytes]:
    """All of a map with keys of 4 bytes, and values of this size."""
    found: dict[bytes, bytes] = {}
    key = b""
    while True:
        before, after = ctypes.create_string_buffer(key, 4), ctypes.create_string_buffer(4)
        try:
            _bpf(_NEXT, bytearray(struct.pack("=IIQQQ", descriptor, 0, _at(before, key), ctypes.addressof(after), 0)))
        except FileNotFoundError:
            return found
        value = ctypes.create_string_buffer(size)
        key = after.raw
        where = ctypes.addressof(after), ctypes.addressof(value)
        _bpf(_LOOKUP, bytearray(struct.pack("=IIQQQ", descriptor, 0, *where, 0)))
        found[key] = value.raw


def _at(buffer: ctypes.Array[ctypes.c_char], key: bytes) -> int:
    return ctypes.addressof(buffer) if key else 0


def _map(number: int) -> tuple[str, dict[bytes, bytes]]:
    descriptor = _bpf(_MAP_BY_ID, bytearray(struct.pack("=III", number, 0, 0)))
    try:
        buffer = ctypes.create_string_buffer(64)
        _info(descriptor, buffer)
        _, _, _, size, _, _, name = struct.unpack_from("=IIIIII16s", buffer)
        return name.rstrip(b"\0").decode(), items(descriptor, size)
    finally:
        os.close(descriptor)


def _info(descriptor: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    _bpf(_INFO, bytearray(struct.pack("=IIQ", descriptor, len(buffer), ctypes.addressof(buffer))))


def _bpf(command: int, asked: bytearray) -> int:
    place = (ctypes.c_char * len(asked)).from_buffer(asked)
    answer = int(_libc.syscall(_NUMBER[platform.machine()], command, place, len(asked)))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
