"""Commands in sessions, with their input and output."""

from __future__ import annotations

from netvps.api.v1 import session_exec_pb2 as exec_pb
from netvps.domain.checks import Checks
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
from netvps.rpc.convert import names


def start_to_proto(start: ExecStart) -> exec_pb.ExecSessionRequest:
    """The first message."""
    return exec_pb.ExecSessionRequest(
        start=exec_pb.ExecStart(
            name=names.session_name(start.name),
            argv=start.argv,
            user=start.user,
            terminal=_size_to_proto(start.terminal) if start.terminal else None,
            term=start.term,
        )
    )


def start_from_proto(message: exec_pb.ExecSessionRequest) -> ExecStart:
    """Parses the first message. Raises InvalidInput, also for any other message."""
    if message.WhichOneof("message") != "start":
        raise InvalidInput.of("start", "the first message must be start, with the command and the session")
    checks = Checks()
    start, name, terminal = message.start, "", None
    result = ExecStart(name, ("",))
    with checks.nested("start"):
        name = names.parse_session_name(start.name)
    with checks.nested("start.terminal"):
        terminal = TerminalSize(start.terminal.columns, start.terminal.rows) if start.HasField("terminal") else None
    with checks.nested("start"):
        result = ExecStart(name, tuple(start.argv), start.user or "root", terminal, start.term)
    checks.done()
    return result


def input_to_proto(message: ToCommand) -> exec_pb.ExecSessionRequest:
    """Any message after the first; data of at most MAX_PIECE bytes."""
    match message:
        case Stdin(data):
            return exec_pb.ExecSessionRequest(stdin=data)
        case StdinEof():
            return exec_pb.ExecSessionRequest(stdin_eof=True)
        case TerminalSize():
            return exec_pb.ExecSessionRequest(resize=_size_to_proto(message))


def input_from_proto(message: exec_pb.ExecSessionRequest) -> ToCommand:
    """Parses a message after the first. Raises InvalidInput."""
    match message.WhichOneof("message"):
        case "stdin":
            return Stdin(_piece(message.stdin, "stdin"))
        case "stdin_eof":
            return StdinEof()
        case "resize":
            return TerminalSize(message.resize.columns, message.resize.rows)
    raise InvalidInput.of("message", "only stdin, stdin_eof and resize may follow start")


def output_to_proto(message: FromCommand) -> exec_pb.ExecSessionResponse:
    """Data of at most MAX_PIECE bytes."""
    match message:
        case Stdout(data):
            return exec_pb.ExecSessionResponse(stdout=data)
        case Stderr(data):
            return exec_pb.ExecSessionResponse(stderr=data)
        case Exit(code, signal):
            return exec_pb.ExecSessionResponse(exit=exec_pb.ExecExit(exit_code=code, signal=signal))


def output_from_proto(message: exec_pb.ExecSessionResponse) -> FromCommand:
    """Parses the output of a command. Raises InvalidInput."""
    match message.WhichOneof("message"):
        case "stdout":
            return Stdout(message.stdout)
        case "stderr":
            return Stderr(message.stderr)
        case "exit":
            return Exit(message.exit.exit_code, message.exit.signal)
    raise InvalidInput.of("message", "none of stdout, stderr and exit is set")


def _size_to_proto(size: TerminalSize) -> exec_pb.TerminalSize:
    return exec_pb.TerminalSize(columns=size.columns, rows=size.rows)


def _piece(data: bytes, field: str) -> bytes:
    if len(data) > MAX_PIECE:
        raise InvalidInput.of(field, f"{len(data)} bytes in one message are more than {MAX_PIECE}")
    return data
