"""The kinds of values of settings about images and registries, each with its rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.image.ahead import ImageAhead, check_label_pair
from netvps.domain.image.reference import check_reference, check_registry
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable


def repository_name(value: str) -> str:
    """Validates HOST[:PORT]/REPOSITORY."""
    host, _, name = value.partition("/")
    try:
        check_registry(host)
        check_reference(value)
    except InvalidInput:
        name = ""
    if not name or ":" in name or "@" in name:
        raise ValueError("give HOST[:PORT]/REPOSITORY without a tag, for example registry.example/netvps/snapshots")
    return value


def runner_labels(value: str) -> str:
    """Validates KEY=VALUE, several with commas."""
    return _each(value, check_label_pair)


def images_for_runners(value: str) -> str:
    """Validates IMAGE or IMAGE@KEY=VALUE, several with commas."""
    return _each(value, ImageAhead.parse)


def _each(value: str, check: Callable[[str], object]) -> str:
    """The parts of a list with commas, once each. Raises ValueError for one that `check` refuses."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        for part in parts:
            check(part)
    except InvalidInput as error:
        raise ValueError(error.violations[0].description) from None
    return ",".join(dict.fromkeys(parts))
