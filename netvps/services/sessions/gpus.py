"""GPUs: a session holds them from its placement or start until it is stopped or deleted, a task while it is placed.

They are allocated within the transaction that places or starts it, and the store has one writer at a time, so that no
two get the same GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.gpu import holders_words, ids_words
from netvps.domain.runner.placement import Use, gpus_for
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session, SessionState
from netvps.domain.task.task import Task
from netvps.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.domain.names import SessionName
    from netvps.services.ports import Reader


async def gpus_in_use(reader: Reader, runners: Iterable[Runner]) -> dict[str, frozenset[str]]:
    """Ids of the GPUs that are held, by uid of the runner."""
    return {runner: frozenset(holders) for runner, holders in (await gpu_holders(reader, runners)).items()}


async def gpu_holders(reader: Reader, runners: Iterable[Runner]) -> dict[str, dict[str, SessionName]]:
    """The sessions and tasks that hold GPUs, by id of the GPU, by uid of the runner."""
    uids = tuple(runner.uid for runner in runners if runner.capacity.gpus)
    found: dict[str, dict[str, SessionName]] = {}
    holders: list[Session | Task] = []
    if uids:
        holders += await reader.find(Session, gpu_holder=uids)
        holders += await reader.find(Task, gpu_holder=uids)
    for one in holders:
        found.setdefault(one.runner, {}).update(dict.fromkeys(one.gpus, one.full_name))
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
    found = (await gpu_holders(reader, [runner])).get(runner.uid, {})
    holders = {gpu: name for gpu, name in found.items() if gpu not in session.gpus}
    before = tuple(gpu for gpu in session.gpus or session.gpus_before if gpu in present)
    wanted = replace(session, gpus=(), gpus_before=before)
    chosen = gpus_for(wanted, runner, Use(gpus=holders))
    if chosen is None:
        raise Exhausted(f"session {session.full_name} cannot start: {_why_none(session, runner, holders)}")
    return replace(wanted, gpus=chosen)


def _why_none(session: Session, runner: Runner, holders: dict[str, SessionName]) -> str:
    """Who holds the GPUs, and which are free; sessions of other owners are not named."""
    spec, present = session.spec, [gpu.id for gpu in runner.capacity.gpus]
    free = [gpu for gpu in present if gpu not in holders]
    if gone := [gpu for gpu in spec.gpu_ids if gpu not in present]:
        return f"its runner {runner.name} does not have {ids_words(gone)} any more; free there: {ids_words(free)}"
    held = holders_words([gpu for gpu in spec.gpu_ids or present if gpu in holders], holders, session.owner)
    if spec.gpu_ids:
        return (
            f"it names GPUs of its runner {runner.name} that other sessions hold: {held}; stop those first "
            f"(free there: {ids_words(free)})"
        )
    of = f"{spec.gpu_count} of the {len(present)} GPUs of its runner {runner.name}"
    return f"it needs {of}, and {len(free)} are free" + (f"; in use: {held}" if holders else "")
