from __future__ import annotations

import pytest

from netvps.api.v1 import session_exec_pb2 as exec_pb
from netvps.domain.pieces import MAX_PIECE
from netvps.domain.session.exec import (
    ExecStart,
    Exit,
    FromCommand,
    Stderr,
    Stdin,
    StdinEof,
    Stdout,
    TerminalSize,
    ToCommand,
)
from netvps.errors import InvalidInput
from netvps.rpc.convert.session.exec import (
    input_from_proto,
    input_to_proto,
    output_from_proto,
    output_to_proto,
    start_from_proto,
    start_to_proto,
)


@pytest.mark.parametrize(
    "start", [ExecStart("a", ("true",)), ExecStart("a.b", ("sh", "-c", ""), "u", TerminalSize(80, 24), "xterm")]
)
def test_a_start_comes_back_as_it_was(start: ExecStart) -> None:
    assert start_from_proto(start_to_proto(start)) == start


@pytest.mark.parametrize("message", [Stdin(b"x" * MAX_PIECE), StdinEof(), TerminalSize(1, 10_000)])
def test_input_comes_back_as_it_was(message: ToCommand) -> None:
    assert input_from_proto(input_to_proto(message)) == message


@pytest.mark.parametrize("message", [Stdout(b""), Stderr(b"x"), Exit(0), Exit(143, "TERM")])
def test_output_comes_back_as_it_was(message: FromCommand) -> None:
    assert output_from_proto(output_to_proto(message)) == message


def test_no_unix_user_means_root() -> None:
    message = exec_pb.ExecSessionRequest(start=exec_pb.ExecStart(name="sessions/a", argv=["true"]))
    assert start_from_proto(message).user == "root"


def test_all_that_is_wrong_with_a_start_comes_together() -> None:
    start = exec_pb.ExecStart(name="a", user="Not A User", terminal=exec_pb.TerminalSize(columns=0, rows=20_000))
    with pytest.raises(InvalidInput) as error:
        start_from_proto(exec_pb.ExecSessionRequest(start=start))
    assert [violation.field for violation in error.value.violations] == [
        "start.name",
        "start.terminal.columns",
        "start.terminal.rows",
        "start.argv",
        "start.user",
    ]


@pytest.mark.parametrize(
    "message",
    [
        exec_pb.ExecSessionRequest(),
        exec_pb.ExecSessionRequest(start=exec_pb.ExecStart()),
        exec_pb.ExecSessionRequest(stdin=b"x" * (MAX_PIECE + 1)),
        exec_pb.ExecSessionRequest(resize=exec_pb.TerminalSize()),
    ],
)
def test_input_that_is_none_is_refused(message: exec_pb.ExecSessionRequest) -> None:
    with pytest.raises(InvalidInput):
        input_from_proto(message)


def test_a_command_starts_with_start() -> None:
    with pytest.raises(InvalidInput, match="the first message must be start"):
        start_from_proto(exec_pb.ExecSessionRequest(stdin_eof=True))
    with pytest.raises(InvalidInput):
        output_from_proto(exec_pb.ExecSessionResponse())
