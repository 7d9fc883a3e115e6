"""Quotas: what the sessions of one user may have together. Pure.

Sessions and disk count from the creation of a session until its deletion is requested; CPUs, memory and GPUs count
while it is to run or is paused. A session without a limit of CPUs, memory or disk cannot be counted, so a quota of that
refuses it; one that is older than the quota counts as in scheduling. Tasks count while a runner has them, and wait
while the quota is used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from netvps.domain.session.limits import bytes_words
from netvps.domain.session.session import DesiredState, Session
from netvps.domain.task.task import Task
from netvps.errors import InvalidInput

NO_LIMIT: Final = -1
MAX: Final = 1 << 60
CLAIMING: Final = (DesiredState.RUNNING, DesiredState.PAUSED)
"""Desired states in which a session has CPUs, memory and GPUs."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit for each resource: None is the one of the role, NO_LIMIT none."""

    sessions: int | None = None
    millicpus: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    gpus: int | None = None

    def __post_init__(self) -> None:
        for resource in RESOURCES:
            value = getattr(self, resource)
            if value is not None and not NO_LIMIT <= value <= MAX:
                raise InvalidInput.of(
                    f"quota.{RESOURCE_WORDS[resource]}", f"it is not between 0 and 2^60; {NO_LIMIT} is no limit"
                )

    def limit(self, resource: str) -> int | None:
        """The limit of a resource; None if there is none."""
        value: int | None = getattr(self, resource)
        return None if value == NO_LIMIT else value

    def over(self, default: Quota) -> Quota:
        """This one, and the default where it says nothing."""
        own = {resource: getattr(self, resource) for resource in RESOURCES}
        return Quota(**{name: getattr(default, name) if value is None else value for name, value in own.items()})


RESOURCES: Final = tuple(each.name for each in fields(Quota))
OF_ROLE: Final = Quota()
"""No limit of its own."""
RESOURCE_WORDS: Final = dict(zip(RESOURCES, ("sessions", "cpus", "memory", "disk", "gpus"), strict=True))
"""Their names for people, and in flags."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each resource; None is without limit."""

    sessions: int | None = 0
    millicpus: int | None = 0
    memory_bytes: int | None = 0
    disk_bytes: int | None = 0
    gpus: int | None = 0


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """The limits that hold for a user, and what their sessions have."""

    limits: Quota
    """NO_LIMIT where there is none, never None."""
    use: Amounts


def amounts_of(session: Session | None) -> Amounts:
    """What one session has."""
    if session is None or session.desired is DesiredState.DELETED:
        return Amounts()
    spec = session.spec
    if session.desired not in CLAIMING:
        return Amounts(sessions=1, disk_bytes=spec.disk_bytes or None)
    return Amounts(
        1, round(spec.cpus * 1000) or None, spec.memory_bytes or None, spec.disk_bytes or None, spec.gpu_count
    )


def amounts_of_task(task: Task) -> Amounts:
    """What a task has while a runner has it."""
    spec = task.spec
    return Amounts(0, task.cpu_claim, spec.memory_bytes or None, 0, spec.gpu_count)


def growing(before: Amounts, after: Amounts) -> list[str]:
    """The resources of which a session gets more."""
    found = []
    for resource in RESOURCES:
        was, becomes = getattr(before, resource), getattr(after, resource)
        if was is not None and (becomes is None or becomes > was):
            found.append(resource)
    return found


def amount_words(resource: str, amount: int) -> str:
    """An amount of a resource for people: "2.5 CPUs", "4 GiB of memory"."""
    match resource:
        case "millicpus":
            return f"{amount / 1000:g} CPU{'' if amount == 1000 else 's'}"  # noqa: PLR2004 — one
        case "memory_bytes" | "disk_bytes":
            return f"{bytes_words(amount)} of {RESOURCE_WORDS[resource]}"
        case "gpus":
            return f"{amount} GPU{'' if amount == 1 else 's'}"
    return f"{amount} session{'' if amount == 1 else 's'}"
