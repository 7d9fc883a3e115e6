"""The questions about sessions: stop, delete, create, rename, limits, ports."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from netvps.client import SessionSpec
from netvps.display.units import parse_size, size_words
from netvps.errors import InvalidInput
from netvps_tui.commands import called, command_line, names_of
from netvps_tui.dialogs.form import Field, Form, FormDialog
from netvps_tui.dialogs.present import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netvps.client import Session
    from netvps_tui.app import NetvpsApp

_LAST_PORT = 65535


def ask_stop(app: NetvpsApp, sessions: Sequence[Session]) -> None:
    """Stops sessions after Enter."""
    names = names_of(sessions, app.me)

    async def check(_: Mapping[str, str]) -> str:
        return ""

    async def send(_: Mapping[str, str]) -> None:
        app.change([present(app, session) for session in sessions], app.client.stop_session)

    text = "Processes end; files stay, and a start brings them back." if len(sessions) == 1 else ", ".join(names)
    line = command_line("stop", *names)
    form = Form(f"Stop {_what(names)}?", text, (), "stop", lambda _: line, check, send, sessions)
    app.push_screen(FormDialog(form))


def ask_delete(app: NetvpsApp, sessions: Sequence[Session]) -> None:
    """Deletes sessions once the name, or the number of several, is typed."""
    names = names_of(sessions, app.me)
    expected = names[0] if len(names) == 1 else str(len(names))

    async def check(values: Mapping[str, str]) -> str:
        return (
            ""
            if values["name"] != expected
            else "Enter deletes it now."
            if len(names) == 1
            else "Enter deletes them now."
        )

    async def send(values: Mapping[str, str]) -> None:
        if values["name"] != expected:
            raise InvalidInput.of("name", f"that is not {expected}; nothing was deleted")
        app.change([present(app, session) for session in sessions], app.client.delete_session)

    whose = "its" if len(names) == 1 else "their"
    text = f"This removes {whose} files and snapshots, without a way back."
    if len(names) > 1:
        text += f"\n{', '.join(names)}"
    field = Field("name", "Type its name" if len(names) == 1 else f"Type {expected}", hint=expected)
    line = command_line("rm", *names)
    title = f"Delete {_what(names)}?"
    form = Form(title, text, [field], "delete", lambda _: line, check, send, sessions, danger=True)
    app.push_screen(FormDialog(form))


def ask_new(app: NetvpsApp) -> None:
    """Creates a session; the server checks what is typed, and says where it would run."""
    fields = [
        Field("session_id", "Name", hint="the server chooses one"),
        Field("image", "Image", hint="the server's default"),
        Field("cpus", "CPUs", hint="no limit"),
        Field("memory_bytes", "Memory", hint="no limit; for example 2G"),
        Field("labels", "Labels", hint="team=web tier=1"),
    ]

    def command(values: Mapping[str, str]) -> str:
        words = [values["session_id"]] if values["session_id"] else []
        for name, option in (("image", "--image"), ("cpus", "--cpus"), ("memory_bytes", "--memory")):
            words += [option, values[name]] if values[name] else []
        words += [word for label in values["labels"].split() for word in ("--label", label)]
        return command_line("create", *words)

    async def check(values: Mapping[str, str]) -> str:
        session = await app.client.create_session(values["session_id"], _spec(values), validate_only=True)
        where = (
            f"on runner {session.runner_name}" if session.runner_name else f"once a runner takes it: {session.message}"
        )
        return f"from {session.spec.image}, {where}"

    async def send(values: Mapping[str, str]) -> None:
        session = await app.client.create_session(values["session_id"], _spec(values))
        app.live.answer(session)
        app.call_later(app.look_at, session)  # once the dialog is gone

    app.push_screen(FormDialog(Form("New session", "", fields, "create", command, check, send)))


def ask_rename(app: NetvpsApp, session: Session) -> None:
    """Gives a session another name."""
    name = called(session, app.me)

    async def check(values: Mapping[str, str]) -> str:
        return f"It is reached as {values['session_id']} from then on." if values["session_id"] else ""

    async def send(values: Mapping[str, str]) -> None:
        app.live.answer(await app.client.rename_session(str(present(app, session).full_name), values["session_id"]))

    form = Form(
        f"Rename {name}",
        "",
        [Field("session_id", "New name", session.name)],
        "rename",
        lambda values: command_line("rename", name, values["session_id"]),
        check,
        send,
        [session],
    )
    app.push_screen(FormDialog(form))


def ask_resize(app: NetvpsApp, session: Session) -> None:
    """Changes limits while it runs."""
    name, spec = called(session, app.me), session.spec
    fields = [
        Field("cpus", "CPUs", f"{spec.cpus:g}" if spec.cpus else "", "no limit"),
        Field(
            "memory_bytes",
            "Memory",
            size_words(spec.memory_bytes) if spec.memory_bytes else "",
            "no limit; for example 2G",
        ),
        Field("pids", "Processes", str(spec.pids)),
    ]

    def changed(values: Mapping[str, str]) -> SessionSpec:
        limits = _spec(values)
        pids = _number(values["pids"], "pids")
        return replace(present(app, session).spec, cpus=limits.cpus, memory_bytes=limits.memory_bytes, pids=int(pids))

    async def check(values: Mapping[str, str]) -> str:
        changed(values)
        return "It takes effect at once; processes go on."

    async def send(values: Mapping[str, str]) -> None:
        full_name = str(present(app, session).full_name)
        app.live.answer(await app.client.update_session(full_name, changed(values), ("cpus", "memory_bytes", "pids")))

    def command(values: Mapping[str, str]) -> str:
        options = (
            ("--cpus", values["cpus"] or "0"),
            ("--memory", values["memory_bytes"] or "0"),
            ("--pids", values["pids"]),
        )
        return command_line("resize", name, *[word for option in options for word in option])

    app.push_screen(FormDialog(Form(f"Limits of {name}", "", fields, "apply", command, check, send, [session])))


def ask_forward(app: NetvpsApp, session: Session) -> None:
    """Makes ports of a session reachable on this machine."""
    name = called(session, app.me)

    async def check(values: Mapping[str, str]) -> str:
        _ports(values["ports"])
        return "Ctrl-C ends it, and leads back here."

    async def send(values: Mapping[str, str]) -> None:
        ports = _ports(values["ports"])
        app.call_later(partial(app.connect.forward, app, str(present(app, session).full_name), ports))

    form = Form(
        f"Forward ports of {name}",
        "PORT, or LOCAL:REMOTE; several with spaces between them.",
        [Field("ports", "Ports", "8080", "8080:80 5432")],
        "forward",
        lambda values: command_line("forward", name, *values["ports"].split()),
        check,
        send,
        [session],
    )
    app.push_screen(FormDialog(form))


def _what(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} sessions"


def _spec(values: Mapping[str, str]) -> SessionSpec:
    """The spec of what was typed. Raises InvalidInput with all that is wrong."""
    cpus = _number(values["cpus"], "cpus") if values["cpus"] else 0.0
    try:
        memory = parse_size(values["memory_bytes"]) if values["memory_bytes"] else 0
    except ValueError as error:
        raise InvalidInput.of("memory_bytes", str(error)) from None
    labels = dict(word.partition("=")[::2] for word in values.get("labels", "").split())
    return SessionSpec(image=values.get("image", ""), cpus=cpus, memory_bytes=memory, labels=labels)


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput.of(field, f"{text!r} is not a number: give for example 2") from None


def _ports(text: str) -> list[str]:
    """Ports as `netvps forward` takes them. Raises InvalidInput."""
    words = text.split()
    for word in words:
        here, colon, there = word.partition(":")
        numbers = [int(part) if part.isdecimal() else 0 for part in (here, there if colon else here)]
        if not all(0 < number <= _LAST_PORT for number in numbers):
            raise InvalidInput.of("ports", f"{word!r} is not PORT or LOCAL:REMOTE: give for example 8080:80")
    if not words:
        raise InvalidInput.of("ports", "give a port, for example 8080:80")
    return words
