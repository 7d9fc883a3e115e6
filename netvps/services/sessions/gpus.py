"""GPUs of sessions: a session holds them from its placement or start until it is stopped or deleted.

They are allocated within the transaction that places or starts it, and the store has one writer at a time, so that no
two sessions get the same GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.placement import Use, gpus_for
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session, SessionState
from netvps.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.services.ports import Reader


async def gpus_in_use(reader: Reader, runners: Iterable[Runner]) -> dict[str, frozenset[str]]:
    """Ids of the GPUs that sessions hold, by uid of the runner."""
    uids = tuple(runner.uid for runner in runners if runner.capacity.gpus)
    found: dict[str, frozenset[str]] = {}
    for session in await reader.find(Session, gpu_holder=uids) if uids else ():
        found[session.runner] = found.get(session.runner, frozenset()) | frozenset(session.gpus)
    return found


async def with_gpus(reader: Reader, session: Session, runner: Runner) -> Session:
    """A placed session that is to start, with its GPUs; unchanged if it has them.

    One that could not start gets others for those that its runner does not have any more. Raises Exhausted.
    """
    present = {gpu.id for gpu in runner.capacity.gpus}
    if not session.spec.gpu_count or (session.gpus and present.issuperset(session.gpus)):
        return session
    if session.gpus and session.state is not SessionState.FAILED:
        return session  # its container may run with them
    others = [other for other in await reader.find(Session, gpu_holder=runner.uid) if other.uid != session.uid]
    use = Use(gpus=frozenset(gpu for other in others for gpu in other.gpus))
    before = tuple(gpu for gpu in session.gpus or session.gpus_before if gpu in present)
    wanted = replace(session, gpus=(), gpus_before=before)
    found = gpus_for(wanted, runner, use)
    if found is None:
        raise Exhausted(f"session {session.full_name} cannot start: {_why_none(session, runner, others)}")
    return replace(wanted, gpus=found)


def _why_none(session: Session, runner: Runner, others: list[Session]) -> str:
    """Who holds the GPUs; sessions of other owners are not named."""
    spec, present = session.spec, [gpu.id for gpu in runner.capacity.gpus]
    if gone := [gpu for gpu in spec.gpu_ids if gpu not in present]:
        return f"{', '.join(gone)} is not on its runner {runner.name} any more; see netvps runner show {runner.name}"
    holders = {gpu: other for other in others for gpu in other.gpus}
    wanted = [gpu for gpu in spec.gpu_ids or present if gpu in holders]
    own = sorted({str(holders[gpu].full_name) for gpu in wanted if holders[gpu].owner == session.owner})
    foreign = len({holders[gpu].uid for gpu in wanted if holders[gpu].owner != session.owner})
    by = [*own, *([f"{foreign} of other users"] if foreign else [])]
    free = len(set(present) - holders.keys())
    held = f"; the others belong to {', '.join(by)}" if by else ""
    named = ", ".join(wanted) if spec.gpu_ids else ""
    if named:
        return f"{named} on its runner {runner.name} belongs to {', '.join(by)}; stop that first"
    return (
        f"it needs {spec.gpu_count} of the {len(present)} GPUs of its runner {runner.name}, and {free} are free{held}"
    )
