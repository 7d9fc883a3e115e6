"""Names as arguments: a short name or the one that `-o json` prints; and no argument that is empty by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.help import completion as words
from netvps.domain.names import (
    RUNNER_NAME_MAX,
    SNAPSHOT_ID_MAX,
    USER_NAME_MAX,
    SessionName,
    check_label,
    check_task_id,
    check_unix_user,
)
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from click.shell_completion import CompletionItem

_CHECKED: Final = "consume_value"


class ResourceName(click.ParamType[str]):
    """The name of a session, user or runner, with or without its collection ("sessions/dev1")."""

    def __init__(self, collection: str, check: Callable[[str], object], complete: Callable[..., list[str]]) -> None:
        self.name = collection.removesuffix("s/").upper()
        self._collection = collection
        self._check = check
        self._complete = complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name without its collection. Fails if it cannot be a name."""
        name = str(value).removeprefix(self._collection)
        if not name:  # a default: none was given
            return ""
        try:
            self._check(name)
        except InvalidInput as error:
            self.fail(error.violations[0].description, param, ctx)
        return name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin like this."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self._complete(ctx, param, incomplete)]


SESSION: Final = ResourceName("sessions/", lambda name: SessionName.parse(name, "me"), words.complete_session)
USER: Final = ResourceName("users/", lambda name: check_label(name, "name", USER_NAME_MAX), words.complete_user)
RUNNER: Final = ResourceName("runners/", lambda name: check_label(name, "name", RUNNER_NAME_MAX), words.complete_runner)
SNAPSHOT: Final = ResourceName(
    "snapshots/", lambda name: check_label(name, "name", SNAPSHOT_ID_MAX), words.complete_snapshot
)
TASK: Final = ResourceName("tasks/", check_task_id, lambda *_: [])
UNIX_USER: Final = ResourceName("unix-users/", check_unix_user, lambda *_: [])


def child_of_user(text: str, collection: str) -> tuple[str, str]:
    """USER and ID of "users/USER/COLLECTION/ID", which `-o json` prints; '' and the text for an ID alone."""
    owner, found, child = text.removeprefix("users/").partition(f"/{collection}/")
    return (owner, child) if found and text.startswith("users/") else ("", text)


def refuse_empty(command: click.Command) -> click.Command:
    """The command, which refuses an argument or value that is the empty string: mostly an unset variable of a shell.

    Words for another program are passed on as they are.
    """
    for param in command.params:
        if not isinstance(param.type, click.types.UnprocessedParamType):
            _refuse_empty_value(param)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            refuse_empty(inner)
    return command


def _refuse_empty_value(param: click.Parameter) -> None:
    """Looks at the words before they are converted, so that every type says the same; again changes nothing."""
    if _CHECKED in vars(param):
        return
    consume = param.consume_value

    def consume_value(ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, click.core.ParameterSource]:
        value, source = consume(ctx, opts)
        values = value if isinstance(value, (tuple, list)) else (value,)
        if source is click.core.ParameterSource.COMMANDLINE and "" in values:
            remedy = "give one" if param.required else "give one, or leave it out"
            empty = f"the value is empty: {remedy} (is a variable of your shell unset?)"
            raise click.BadParameter(empty, ctx=ctx, param=param)
        return value, source

    vars(param)[_CHECKED] = consume_value
