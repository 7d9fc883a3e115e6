"""The scheduler: chooses a runner for a session, or a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from netvps.domain.checks import shown
from netvps.domain.filter.kinds import RunnerFilter
from netvps.domain.image.places import ImagePlaces
from netvps.domain.runner.gpu import allocate, holders_words, ids_words
from netvps.domain.runner.runner import COMMANDS, RunnerState
from netvps.domain.session.spec import Network, Placement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from netvps.domain.names import SessionName
    from netvps.domain.runner.runner import Runner
    from netvps.domain.session.session import Session
    from netvps.domain.session.spec import SessionSpec


_NAMED: Final = 3
"""Maximum number of runners named in a message."""


_MORE_SESSIONS: Final = 8
_MORE_LOAD: Final = 0.25
"""How much more than the least loaded one, in sessions and in parts of its machine, a runner that has the image has."""
_ANYWHERE: Final = ImagePlaces()


class Claimant(Protocol):
    """What is placed: a session or a task."""

    @property
    def spec(self) -> SessionSpec:
        """What its container is made with."""

    @property
    def full_name(self) -> SessionName:
        """Its name in messages."""

    @property
    def cpu_claim(self) -> int:
        """Millicores that it counts for."""

    @property
    def memory_claim(self) -> int:
        """Bytes that it counts for."""

    @property
    def disk_claim(self) -> int:
        """Bytes that it counts for."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """Ids of the GPUs that it holds."""

    @property
    def gpus_before(self) -> tuple[str, ...]:
        """Ids of the GPUs that it prefers."""


@dataclass(frozen=True, slots=True)
class Use:
    """Resources of a runner that are in use: the number of sessions to be RUNNING and of tasks, and their claims."""

    sessions: int = 0
    cpu_claims: int = 0
    """In millicores."""
    memory_claims: int = 0
    """Bytes."""
    disk_claims: int = 0
    """Bytes, of stopped sessions as well."""
    gpus: Mapping[str, SessionName] = field(default_factory=dict)
    """Ids of the GPUs that are held, and by which session or task."""

    def with_session(self, session: Claimant) -> Use:
        """The use including one more session or task."""
        return Use(
            self.sessions + 1,
            self.cpu_claims + session.cpu_claim,
            self.memory_claims + session.memory_claim,
            self.disk_claims + session.disk_claim,
            {**self.gpus, **dict.fromkeys(session.gpus, session.full_name)},
        )


def joins_overlay(spec: SessionSpec, runner: Runner) -> bool:
    """Whether a session on this runner gets an overlay address."""
    return spec.network is not Network.NONE and runner.underlay is not None


def fits(spec: SessionSpec, runner: Runner) -> bool:
    """Whether the whole machine is large enough (Docker refuses more CPUs than the machine has; 0 is unknown).

    Also checks that the runner is on the overlay if the spec requires it, and matches the filter of the spec.
    """
    if (spec.network is Network.OVERLAY and runner.underlay is None) or not admits(spec, runner):
        return False
    return not why_not_fits(spec, runner)


def admits(spec: SessionSpec, runner: Runner) -> bool:
    """Whether a runner matches the filter of a spec."""
    return not spec.runner_filter or _runner_filter(spec.runner_filter).matches(runner)


def why_not_fits(spec: SessionSpec, runner: Runner) -> str:
    """Why a session with these limits is larger than its machine, with figures; '' if it fits."""
    has = runner.capacity
    if has.cpus and spec.cpus > has.cpus:
        return f"{spec.cpus:g} CPUs are more than the {has.cpus} of its runner {runner.name}"
    if has.memory_bytes and spec.memory_bytes > has.memory_bytes:
        asked, there = _gib_words(spec.memory_bytes), _gib_words(has.memory_bytes)
        return f"{asked} of memory are more than the {there} of its runner {runner.name}"
    if spec.command and COMMANDS not in runner.capabilities:
        return f"runner {runner.name} runs an earlier version of netvps and the image's own command only: update it"
    return why_no_disk(spec, runner)


def why_no_disk(spec: SessionSpec, runner: Runner) -> str:
    """Why a runner cannot give a session the disk limit that it asks for; '' if it can."""
    has = runner.capacity
    if not spec.disk_bytes:
        return ""
    if not has.disk_limits:
        why = has.disk_limits_problem or "it runs an earlier version of netvps, which cannot limit disks: update it"
        return f"runner {runner.name} cannot limit the disk of a session: {why}"
    if has.disk_bytes and spec.disk_bytes > has.disk_bytes:
        asked, there = _gib_words(spec.disk_bytes), _gib_words(has.disk_bytes)
        return f"{asked} of disk are more than the {there} of its runner {runner.name}"
    return ""


def gpus_for(session: Claimant, runner: Runner, use: Use) -> tuple[str, ...] | None:
    """The ids of the GPUs that a session gets on a runner; () if it asks for none, None if there are not enough."""
    spec = session.spec
    if not spec.gpu_count:
        return ()
    return allocate(spec.gpu_count, runner.capacity.gpus, use.gpus, named=spec.gpu_ids, before=session.gpus_before)


def choose(
    session: Claimant, runners: Iterable[Runner], uses: Mapping[str, Use], images: ImagePlaces = _ANYWHERE
) -> Runner | None:
    """The online runner with the most room left after placing the session, or, to pack, the least; None if none fits.

    One that has the image comes before others, unless it is much more loaded (to pack, less): those would transfer the
    image first. A runner that would be claimed in full is never packed further while another one has room.

    Room is measured in CPU, memory or disk, whichever is scarcest. The sum of all limits may exceed the machine,
    because sessions are idle most of the time; only GPUs are exclusive. `uses` is keyed by the runner's uid; a missing
    entry means an empty runner.
    """

    def rank(runner: Runner) -> tuple[float, int, str]:
        use = uses.get(runner.uid, Use()).with_session(session)
        return _load(runner, use), use.sessions, runner.name

    able = (runner for runner in runners if not why_not(session, runner, uses.get(runner.uid, Use()), images))
    ranked = [(rank(runner), runner) for runner in able]
    if not ranked:
        return None
    roomy = [(one, runner) for one, runner in ranked if one[0] <= 1]
    if session.spec.placement is Placement.PACK and roomy:
        most = max(one[0] for one, _ in roomy)
        near = [(one, runner) for one, runner in roomy if images.has(runner) and one[0] >= most - _MORE_LOAD]
        return min(near or roomy, key=lambda pair: (-pair[0][0], -pair[0][1], pair[0][2]))[1]
    load, sessions = min(one[0] for one, _ in ranked), min(one[1] for one, _ in ranked)
    near = [
        (one, runner)
        for one, runner in ranked
        if images.has(runner) and one[0] <= load + _MORE_LOAD and one[1] <= sessions + _MORE_SESSIONS
    ]
    return min(near or ranked, key=lambda pair: pair[0])[1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a runner, by name, cannot have a session, for people; '' if it can."""

    runner: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """A session as it would be made, with its runner, and what speaks against each runner."""

    session: Session
    verdicts: tuple[Verdict, ...]


def why_not(  # noqa: PLR0911 — one answer per cause
    session: Claimant, runner: Runner, use: Use, images: ImagePlaces = _ANYWHERE
) -> str:
    """Why a session cannot start on this runner now; '' if it can."""
    spec = session.spec
    if runner.state is not RunnerState.ONLINE:
        return "it is offline"
    if runner.no_sessions:
        return "it runs no sessions (--no-sessions)"
    if runner.cordoned:
        return f"it is cordoned; netvps runner uncordon {runner.name} ends that"
    if runner.engine_problem:
        return runner.engine_problem
    if not admits(spec, runner):
        return f"it does not match {shown(spec.runner_filter)}"
    if not images.fits(runner):
        return f"image {spec.image} is not for its architecture {runner.capacity.architecture}"
    if spec.network is Network.OVERLAY and runner.underlay is None:
        return "it is not on the overlay"
    if reason := why_not_fits(spec, runner):
        return reason
    if gpus_for(session, runner, use) is None:
        free = len([gpu for gpu in runner.capacity.gpus if gpu.id not in use.gpus])
        return f"{free} of its {_gpu_words(len(runner.capacity.gpus))} free, and not those that the session asks for"
    return ""


def is_able(runner: Runner) -> bool:
    """Whether a session can start on this runner now."""
    return (
        runner.state is RunnerState.ONLINE
        and not runner.no_sessions
        and not runner.cordoned
        and not runner.engine_problem
    )


def why_none(  # noqa: C901, PLR0911 — one answer per cause
    spec: SessionSpec,
    runners: Iterable[Runner],
    uses: Mapping[str, Use] | None = None,
    owner: str = "",
    images: ImagePlaces = _ANYWHERE,
) -> str:
    """Why `choose` found no runner, for the session's `owner`."""
    online = [runner for runner in runners if runner.state is RunnerState.ONLINE]
    if not online:
        return "no runner is online; see netvps runner ls"
    online = [runner for runner in online if not runner.no_sessions]
    if not online:
        return "no runner that is online runs sessions (all have --no-sessions); see netvps runner ls"
    online = [runner for runner in online if not runner.cordoned]
    if not online:
        return "every runner that is online is cordoned; see netvps runner ls and netvps runner uncordon"
    able = [runner for runner in online if is_able(runner)]
    if not able:
        problems = "; ".join(f"{runner.name}: {runner.engine_problem}" for runner in online[:_NAMED])
        return f"no runner that is online can start sessions now ({problems}); it starts when one can"
    online = [runner for runner in able if admits(spec, runner)]
    if not online:
        return f"no runner that is online matches {shown(spec.runner_filter)}; see netvps runner ls"
    if wrong := images.why_none(online):
        return wrong
    if spec.network is Network.OVERLAY and not any(runner.underlay for runner in online):
        return "no runner that is online is on the overlay; see netvps runner ls, or use another network"
    if spec.disk_bytes and not any(runner.capacity.disk_limits for runner in online):
        return f"{'; '.join(why_no_disk(spec, runner) for runner in online[:_NAMED])}; or ask for no disk limit"
    if spec.command and not any(COMMANDS in runner.capabilities for runner in online):
        return "no runner that is online runs another command than the image's: update netvps there"
    if spec.gpu_count and (why := _why_no_gpus(spec, online, uses or {}, owner)):
        return why
    asked = [f"{spec.cpus:g} CPUs"] if spec.cpus else []
    asked += [f"{_gib_words(spec.memory_bytes)} of memory"] if spec.memory_bytes else []
    asked += [f"{_gib_words(spec.disk_bytes)} of disk"] if spec.disk_bytes else []
    asked += [_gpu_words(spec.gpu_count)] if spec.gpu_count else []
    overlay = " and is on the overlay" if spec.network is Network.OVERLAY else ""
    return f"no runner that is online has {' and '.join(asked)}{overlay}; see netvps runner ls, or ask for less"


def _why_no_gpus(  # noqa: PLR0911 — one answer per cause
    spec: SessionSpec, runners: Sequence[Runner], uses: Mapping[str, Use], owner: str
) -> str:
    """Why no runner has the GPUs for a session; '' if one has."""
    with_gpus = [runner for runner in runners if runner.capacity.gpus]
    there = {gpu.id: runner for runner in with_gpus for gpu in runner.capacity.gpus}
    if not there:
        return "no runner that is online has a GPU; see netvps runner show NAME"
    held = {runner.name: uses.get(runner.uid, Use()).gpus for runner in with_gpus}
    free = {
        runner.name: [gpu.id for gpu in runner.capacity.gpus if gpu.id not in held[runner.name]] for runner in with_gpus
    }
    if unknown := [gpu for gpu in spec.gpu_ids if gpu not in there]:
        others = "; ".join(f"{name}: {ids_words(ids)}" for name, ids in [*free.items()][:_NAMED])
        return f"no runner that is online has {ids_words(unknown)}; free are {others}"
    if len({there[gpu].uid for gpu in spec.gpu_ids}) > 1:
        on = [f"{gpu} on {there[gpu].name}" for gpu in spec.gpu_ids]
        return f"the GPUs that it names are on several runners: {ids_words(on)}; name those of one"
    if taken := [gpu for gpu in spec.gpu_ids if gpu in held[there[gpu].name]]:
        return f"it waits for GPUs that others hold: {holders_words(taken, held[there[taken[0]].name], owner)}"
    most = max(len(runner.capacity.gpus) for runner in with_gpus)
    if spec.gpu_count > most:
        return f"no runner that is online has more than {_gpu_words(most)}; ask for less"
    if spec.gpu_count > max(map(len, free.values())):
        counts = ", ".join(
            f"{one.name} {len(free[one.name])} of {len(one.capacity.gpus)}" for one in with_gpus[:_NAMED]
        )
        return f"no runner that is online has {_gpu_words(spec.gpu_count)} free ({counts}); it starts when one has"
    return ""


@lru_cache(256)
def _runner_filter(text: str) -> RunnerFilter:
    return RunnerFilter.parse(text)


def _gpu_words(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _gib_words(size: int) -> str:
    """Bytes in GiB for people: 0.5 GiB, 1.25 GiB, 104,857 GiB."""
    gib = size / (1 << 30)
    return f"{gib:,.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB"  # noqa: PLR2004 — three digits


def _load(runner: Runner, use: Use) -> float:
    """The claimed fraction of the machine; above 1 where the sum of the limits exceeds it.

    A machine of unknown size counts as one CPU and 1 GiB.
    """
    has = runner.capacity
    disk = use.disk_claims / has.disk_bytes if has.disk_bytes else 0.0
    return max(use.cpu_claims / (1000 * (has.cpus or 1)), use.memory_claims / (has.memory_bytes or 1 << 30), disk)
