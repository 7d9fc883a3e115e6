"""Quotas on the command line: options that change one, and columns that show one with what is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from netvps.cli.session.sessions import to_json
from netvps.cli.ui.output import Column, View
from netvps.domain.access.quota import NO_LIMIT, RESOURCE_WORDS, amount_words
from netvps.errors import WrongState
from netvps.settings.quota_values import parse_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netvps.client import Client

T = TypeVar("T")
_OF_ROLE = -2


class _Limit(click.ParamType[int]):
    """An amount of a resource, "none" for no limit, or "default" for the limit of the role."""

    def __init__(self, resource: str) -> None:
        self.name = "SIZE" if resource.endswith("bytes") else "N"
        self._resource = resource

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The amount of what was typed."""
        if isinstance(value, int):
            return value
        words = {"none": NO_LIMIT, "default": _OF_ROLE}
        try:
            return words.get(value) or parse_amount(self._resource, value)
        except ValueError as error:
            self.fail(f"{error}, or none, or default", param, ctx)


def quota_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each resource."""
    for resource, word in reversed(RESOURCE_WORDS.items()):
        option = click.option(
            f"--max-{word}",
            resource,
            type=_Limit(resource),
            default=None,
            help=f"Limit of {word} of their sessions together; none, or default for that of the role.",
        )
        command = option(command)
    return command


def changed_limits(given: Mapping[str, int | None]) -> dict[str, int | None]:
    """The limits to change, by resource; None for that of the role."""
    return {name: None if value == _OF_ROLE else value for name, value in given.items() if value is not None}


def with_quota(view: View[T], client: Client, name: str) -> View[T]:
    """The view, and the quota of a user with what is in use; as before if the server knows no quotas."""
    try:
        found = client.get_user_quota(name)
    except WrongState as error:
        if error.reason != "OTHER_VERSION":
            raise
        return view

    def cell(resource: str) -> str:
        used, limit = getattr(found.use, resource), found.limits.limit(resource)
        words = amount_words(resource, used)
        return words if limit is None else f"{words}, of {amount_words(resource, limit)}"

    columns = [
        Column[T](word.upper(), lambda _, resource=resource: cell(resource))  # type: ignore[misc]  # bound at once
        for resource, word in RESOURCE_WORDS.items()
    ]
    return View(
        name=view.name,
        columns=(*view.columns, *columns),
        json=lambda thing: {**view.json(thing), "quotaInForce": to_json(found)},
    )
