"""Labels of a runner: those that its operator sets (netvps runner --labels), and those that admins set over the API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.checks import Checks, shown
from netvps.domain.image.ahead import LABELS_MAX, check_label_pair
from netvps.errors import WrongState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from netvps.domain.runner.runner import Runner


def by_key(labels: Iterable[str]) -> dict[str, str]:
    """Labels KEY=VALUE by key; the first one of a key holds."""
    found: dict[str, str] = {}
    for label in labels:
        key, _, value = label.partition("=")
        found.setdefault(key, value)
    return found


def with_reported(runner: Runner, reported: tuple[str, ...]) -> Runner:
    """A runner whose operator sets these labels; those that admins set come before them."""
    return _labelled(replace(runner, reported_labels=reported), runner.assigned_labels)


def relabelled(runner: Runner, labels: Mapping[str, str], remove: Collection[str]) -> Runner:
    """A runner with these labels set, and those with the keys in `remove` removed.

    Raises InvalidInput, and WrongState for a label that only its operator can remove.
    """
    checks, reported = Checks(), by_key(runner.reported_labels)
    for key, value in labels.items():
        with checks.nested():
            check_label_pair(f"{key}={value}", f"labels[{shown(key)}]")
        checks.require(key not in remove, f"remove[{shown(key)}]", "it is set by the same request")
    assigned = {key: value for key, value in {**runner.assigned_labels, **labels}.items() if key not in remove}
    checks.require(len(assigned) <= LABELS_MAX, "labels", f"runner {runner.name} would have more than {LABELS_MAX}")
    checks.done()
    for key in remove:
        if key in reported and key not in runner.assigned_labels:
            raise WrongState(
                f"label {key} of runner {runner.name} is set on its machine: start netvps runner there without it"
            )
    return _labelled(runner, assigned)


def _labelled(runner: Runner, assigned: Mapping[str, str]) -> Runner:
    labels = sorted({**by_key(runner.reported_labels), **assigned}.items())
    return replace(runner, labels=tuple(f"{key}={value}" for key, value in labels), assigned_labels=assigned)
