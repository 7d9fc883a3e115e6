"""Encodes BPF instructions (RFC 9669): the ones used here.

Assembled at run time: a runner needs no compiler, and constants become immediate operands.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

BYTE, HALF, WORD, DOUBLE = 0x10, 0x08, 0x00, 0x18
"""Operand sizes: 1, 2, 4 and 8 bytes, in the machine's byte order."""
_LDX, _ST, _STX, _ALU32, _JMP, _JMP32, _ALU64 = 0x61, 0x62, 0x63, 0x04, 0x05, 0x06, 0x07
_ADD, _AND, _SHIFT_RIGHT, _MOVE = 0x00, 0x50, 0x70, 0xB0
_CALL, _EXIT = 0x80, 0x90
_REGISTER: Final = 0x08
"""Source bit: the second operand is a register, not an immediate."""
_MAP: Final = 0x18
"""64-bit immediate load, two slots; pseudo source register 1 makes it a map's file descriptor."""
_COMPARED: Final = {"==": 0x10, ">": 0x20, "&": 0x40, "!=": 0x50, "<": 0xA0, "<=": 0xB0}
"""Unsigned comparisons; & tests whether any of these bits is set."""
_INSTRUCTION: Final = struct.Struct("=BBhi")


class Register(IntEnum):
    """R0 is a call's result; R1 to R5 are arguments, clobbered by calls; R6 to R9 survive; R10 is the frame pointer."""

    R0 = 0
    R1 = 1
    R2 = 2
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


R0, R1, R2, R6, R7, R8, R9, R10 = Register


@dataclass(frozen=True, slots=True)
class Instruction:
    """One 8-byte instruction."""

    code: int
    to: int = 0
    source: int = 0
    offset: int = 0
    value: int = 0
    """32-bit immediate, signed or unsigned."""
    target: str = ""
    """Label, in place of the offset."""


@dataclass(frozen=True, slots=True)
class Label:
    """A jump target; encodes to nothing."""

    name: str


Code = Iterable[Instruction | Label]


def load(size: int, to: Register, base: Register, offset: int) -> Instruction:
    """Loads from base + offset."""
    return Instruction(_LDX | size, to, base, offset)


def store(size: int, base: Register, offset: int, value: Register | int) -> Instruction:
    """Stores to base + offset."""
    if isinstance(value, Register):
        return Instruction(_STX | size, base, value, offset)
    return Instruction(_ST | size, base, 0, offset, value)


def move(to: Register, value: Register | int) -> Instruction:
    """Sets a register."""
    return _calculate(_ALU64 | _MOVE, to, value)


def add(to: Register, value: Register | int) -> Instruction:
    """Adds to a register."""
    return _calculate(_ALU64 | _ADD, to, value)


def mask(to: Register, value: Register | int) -> Instruction:
    """Keeps these bits of the lower 32 and clears the rest."""
    return _calculate(_ALU32 | _AND, to, value)


def shift_right(to: Register, value: int) -> Instruction:
    """Shifts right, unsigned."""
    return _calculate(_ALU64 | _SHIFT_RIGHT, to, value)


def jump(to: str, left: Register, comparison: str, right: Register | int, *, wide: bool = False) -> Instruction:
    """Jumps to a label if `left comparison right` holds; compares the lower 32 bits, or all 64 if `wide`."""
    code = (_JMP if wide else _JMP32) | _COMPARED[comparison]
    if isinstance(right, Register):
        return Instruction(code | _REGISTER, left, right, target=to)
    return Instruction(code, left, value=right, target=to)


def call(helper: int) -> Instruction:
    """Calls a kernel helper (enum bpf_func_id)."""
    return Instruction(_JMP | _CALL, value=helper)


def leave() -> Instruction:
    """Ends the program; R0 is its return value."""
    return Instruction(_JMP | _EXIT)


def point(to: Register, descriptor: int) -> list[Instruction]:
    """Sets a register to a map, by file descriptor."""
    return [Instruction(_MAP, to, 1, value=descriptor), Instruction(0)]


def assembled(code: Code) -> bytes:
    """Encodes the program. Raises KeyError for an unknown label."""
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for each in code:
        if isinstance(each, Label):
            labels[each.name] = len(instructions)
        else:
            instructions.append(each)
    return b"".join(_bytes(each, number, labels) for number, each in enumerate(instructions))


def _bytes(each: Instruction, number: int, labels: dict[str, int]) -> bytes:
    offset = labels[each.target] - number - 1 if each.target else each.offset
    value = (each.value + (1 << 31)) % (1 << 32) - (1 << 31)  # the same bits as a signed number
    return _INSTRUCTION.pack(each.code, each.source << 4 | each.to, offset, value)


def _calculate(code: int, to: Register, value: Register | int) -> Instruction:
    if isinstance(value, Register):
        return Instruction(code | _REGISTER, to, value)
    return Instruction(code, to, value=value)
