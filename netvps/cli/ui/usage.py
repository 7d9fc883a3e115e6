"""A mistake on the command line as one line: which word, why, and what to do about it."""

from __future__ import annotations

import re

import click

_OUT_OF_RANGE = re.compile(r"(?P<value>\S+) is not in the range (?P<least>\d+)<=x<=(?P<most>\d+)\.?")
_NO_NUMBER = re.compile(r"(?P<value>.*) is not a valid integer( range)?\.?")


def sentence(error: click.ClickException) -> str:
    """The one line for what Click found wrong."""
    if not isinstance(error, click.UsageError):
        return error.format_message()
    problem = _problem(error)
    return problem if error.ctx is None else f"{problem}; see `{error.ctx.command_path} --help`"


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint with the nearest of the known words, or nothing where none is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _problem(error: click.UsageError) -> str:
    match error:
        case click.NoSuchOption():
            known = _options(error.ctx)
            return f"there is no option {error.option_name}{did_you_mean(error.option_name, known)}"
        case click.NoSuchCommand():
            known = _commands(error.ctx)
            return f"there is no command {error.command_name!r}{did_you_mean(error.command_name, known)}"
        case click.MissingParameter():
            return f"{_name(error)} is missing"
        case click.BadParameter():
            wrong = _wrong_value(error)
            return f"{_name(error)}: {wrong}" if _name(error) else wrong
        case click.BadOptionUsage():
            takes_none = "not take" in error.message
            return f"{error.option_name} " + (
                "takes no value: give it alone" if takes_none else "needs a value after it"
            )
        case _:
            return _inner(error.format_message())


def _options(ctx: click.Context | None) -> list[str]:
    shown = (
        [] if ctx is None else [param for param in ctx.command.get_params(ctx) if not getattr(param, "hidden", False)]
    )
    return [word for param in shown for word in (*param.opts, *param.secondary_opts) if word.startswith("--")]


def _commands(ctx: click.Context | None) -> list[str]:
    if ctx is None or not isinstance(ctx.command, click.Group):
        return []
    return [*ctx.command.list_commands(ctx), *getattr(ctx.command, "aliases", ())]


def _name(error: click.BadParameter) -> str:
    """The option or argument at fault, in the form that is typed."""
    if error.param_hint is not None:
        return error.param_hint if isinstance(error.param_hint, str) else " / ".join(error.param_hint)
    if isinstance(error.param, click.Option):
        return max(error.param.opts, key=len)
    if error.param is None:
        return ""
    word = re.search(r"[A-Z][A-Z_]*", error.param.metavar or (error.param.name or "").upper())
    return word.group() if word else error.param.human_readable_name


def _wrong_value(error: click.BadParameter) -> str:
    """What Click says of a value, in the words of our own types."""
    if found := _OUT_OF_RANGE.fullmatch(error.message):
        return f"{found['value']} is not between {found['least']} and {found['most']}"
    if found := _NO_NUMBER.fullmatch(error.message):
        return f"{found['value']} is not a whole number: give for example 100"
    hint = ""
    if error.param is not None and isinstance(error.param.type, click.Choice):
        typed = error.message.partition("'")[2].partition("'")[0]
        hint = did_you_mean(typed, [str(choice) for choice in error.param.type.choices])
    return _inner(error.message) + hint


def _inner(message: str) -> str:
    """Click's sentence inside a longer one: no capital, no full stop."""
    if extra := re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", message):
        return f"more arguments than this command takes: {extra[1]}"
    first = message[:1] if message[1:2].isupper() else message[:1].lower()
    return first + message[1:].rstrip(".")
