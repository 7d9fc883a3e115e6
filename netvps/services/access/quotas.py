"""Holds users to their quotas: in the transaction that gives a session more, of which there is one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Role, User
from netvps.domain.access.quota import (
    CLAIMING,
    NO_LIMIT,
    RESOURCE_WORDS,
    Amounts,
    Quota,
    QuotaUse,
    amount_words,
    amounts_of,
    amounts_of_task,
    growing,
)
from netvps.domain.session.session import DesiredState, Session
from netvps.domain.task.task import PLACED, Task
from netvps.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.services.ports import Reader

_NONE: Final = Quota(*(NO_LIMIT,) * 5)
_REMEDIES: Final = {
    "sessions": "remove a session, with netvps rm NAME",
    "millicpus": "stop a session, with netvps stop NAME, or give one less, with netvps resize NAME --cpus N",
    "memory_bytes": "stop a session, with netvps stop NAME, or give one less, with netvps resize NAME --memory SIZE",
    "disk_bytes": "remove a session, with netvps rm NAME, or give this one less, with --disk",
    "gpus": "stop a session that has GPUs, with netvps stop NAME",
}


class Quotas:
    """The quotas of users: their own, else those of their role."""

    def __init__(self, of_roles: Mapping[Role, Quota] | None = None) -> None:
        self._of_roles = of_roles or {}

    def limits_of(self, user: User) -> Quota:
        """The limits that hold for a user."""
        return user.quota.over(self._of_roles.get(user.role, _NONE)).over(_NONE)

    async def use(self, reader: Reader, user: User) -> QuotaUse:
        """A user's limits, and what their sessions have."""
        return QuotaUse(self.limits_of(user), await _use_of(reader, user.name, gpus=True))

    async def require(self, reader: Reader, before: Session | None, after: Session) -> None:
        """Raises Exhausted if the session would get more than its owner's quota leaves; it is not written yet."""
        had, has = amounts_of(before), amounts_of(after)
        more = growing(had, has)
        user = await reader.get(User, after.owner) if more else None
        if user is None:
            return
        limits = self.limits_of(user)
        limited = {name: limit for name in more if (limit := limits.limit(name)) is not None}
        if not limited:
            return
        used = await _use_of(reader, user.name, gpus="gpus" in limited)
        for resource, limit in limited.items():
            wanted, others = getattr(has, resource), getattr(used, resource) - (getattr(had, resource) or 0)
            if wanted is None:
                flag = RESOURCE_WORDS[resource]
                raise Exhausted(
                    f"session {after.full_name} has no limit of {flag}, and user {user.name} has a quota of "
                    f"{amount_words(resource, limit)}: give it a limit, with --{flag}",
                    reason="QUOTA_EXCEEDED",
                )
            if others + wanted > limit:
                raise Exhausted(
                    f"user {user.name} has {amount_words(resource, others)} of {amount_words(resource, limit)} in use "
                    f"by other sessions, and {after.full_name} needs {amount_words(resource, wanted)}: "
                    f"{_REMEDIES[resource]}; an admin raises the quota, with netvps user set {user.name} "
                    f"--max-{RESOURCE_WORDS[resource]} N",
                    reason="QUOTA_EXCEEDED",
                )

    async def reason_to_wait(self, reader: Reader, task: Task) -> str:
        """Why a task would exceed its owner's quota now, beside what they have; '' if it does not.

        Raises Exhausted if it would alone.
        """
        user = await reader.get(User, task.owner)
        has = amounts_of_task(task)
        limits = self.limits_of(user) if user else _NONE
        limited = {name: limit for name in growing(Amounts(), has) if (limit := limits.limit(name)) is not None}
        used = await _use_of(reader, task.owner, gpus="gpus" in limited) if limited else Amounts()
        for resource, limit in limited.items():
            wanted, flag = getattr(has, resource), RESOURCE_WORDS[resource]
            if wanted is None or wanted > limit:
                asks = "no limit of " + flag if wanted is None else amount_words(resource, wanted)
                raise Exhausted(
                    f"the task asks for {asks}, and user {task.owner} has a quota of {amount_words(resource, limit)}: "
                    f"ask for less, with --{flag}",
                    reason="QUOTA_EXCEEDED",
                )
            if getattr(used, resource) + wanted > limit:
                what = amount_words(resource, limit)
                return f"the quota of user {task.owner} is used, {what}; it starts when some are free"
        return ""


async def _use_of(reader: Reader, owner: str, *, gpus: bool) -> Amounts:
    """What a user's sessions have, and the tasks that run. GPUs cost a read of all of them, and are 0 if not asked."""
    tally = await reader.tally(Session, "desired", "cpu_claim", "memory_claim", "disk_claim", owner=owner)
    kept = [row for desired, row in tally.items() if desired != DesiredState.DELETED]
    running = [tally[desired] for desired in CLAIMING if desired in tally]
    running += (await reader.tally(Task, "owner", "cpu_claim", "memory_claim", owner=owner, state=PLACED)).values()
    held: tuple[Session | Task, ...] = ()
    if gpus:
        held = (
            *await reader.find(Session, owner=owner, desired=CLAIMING),
            *await reader.find(Task, owner=owner, state=PLACED),
        )
    return Amounts(
        sessions=sum(row[0] for row in kept),
        millicpus=sum(row[1] for row in running),
        memory_bytes=sum(row[2] for row in running),
        disk_bytes=sum(row[3] for row in kept),
        gpus=sum(one.spec.gpu_count for one in held),
    )
