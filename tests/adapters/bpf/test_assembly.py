"""Instructions as RFC 9669 writes them."""

from __future__ import annotations

import pytest

from netvps.adapters.bpf.assembly import (
    BYTE,
    DOUBLE,
    HALF,
    R0,
    R1,
    R2,
    R6,
    R7,
    R9,
    R10,
    WORD,
    Instruction,
    Label,
    add,
    assembled,
    call,
    jump,
    leave,
    load,
    mask,
    move,
    point,
    shift_right,
    store,
)

pytestmark = pytest.mark.skipif("sys.byteorder != 'little'", reason="the bytes are those of such a machine")


@pytest.mark.parametrize(
    ("instruction", "written"),
    [
        (load(BYTE, R0, R7, 23), "71 70 1700 00000000"),
        (load(HALF, R0, R7, 12), "69 70 0c00 00000000"),
        (load(WORD, R7, R6, 76), "61 67 4c00 00000000"),
        (load(DOUBLE, R9, R0, 0), "79 09 0000 00000000"),
        (store(WORD, R10, -4, R1), "63 1a fcff 00000000"),
        (store(HALF, R7, 4, 0x4202), "6a 07 0400 02420000"),
        (store(WORD, R7, 0, 0xFFFFFFFF), "62 07 0000 ffffffff"),
        (move(R6, R1), "bf 16 0000 00000000"),
        (move(R0, -1), "b7 00 0000 ffffffff"),
        (add(R2, -4), "07 02 0000 fcffffff"),
        (add(R9, R1), "0f 19 0000 00000000"),
        (mask(R1, 0x00FCFFFF), "54 01 0000 fffffc00"),
        (shift_right(R9, 2), "77 09 0000 02000000"),
        (call(1), "85 00 0000 01000000"),
        (leave(), "95 00 0000 00000000"),
    ],
)
def test_an_instruction_is_eight_bytes(instruction: Instruction, written: str) -> None:
    assert assembled([instruction]) == bytes.fromhex(written)


def test_a_map_is_pointed_to_by_two_of_them() -> None:
    assert assembled(point(R1, 7)) == bytes.fromhex("18 11 0000 07000000 0000 0000 00000000")


@pytest.mark.parametrize(
    ("comparison", "code"), [("==", 0x16), (">", 0x26), ("&", 0x46), ("!=", 0x56), ("<", 0xA6), ("<=", 0xB6)]
)
def test_a_jump_skips_what_is_before_its_label(comparison: str, code: int) -> None:
    program = assembled([jump("end", R0, comparison, 5), leave(), Label("end"), leave()])
    assert program == bytes([code, 0, 1, 0, 5, 0, 0, 0]) + 2 * assembled([leave()])


def test_a_jump_may_compare_registers_or_all_64_bits_and_lead_back() -> None:
    program = assembled([Label("start"), leave(), jump("start", R0, "!=", R9, wide=True)])
    assert program == assembled([leave()]) + bytes.fromhex("5d 90 feff 00000000")


def test_a_label_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        assembled([jump("nowhere", R0, "==", 0)])
