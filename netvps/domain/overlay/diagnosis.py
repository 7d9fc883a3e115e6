"""Diagnoses why sessions do not reach each other, from the sessions, runners' reports and measurements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.path import (
    Path,
    PathState,
    healthy_links,
    path_findings,
    reason_without,
    unhealthy_pairs,
)
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import Network

_SCARCE: Final = 10
"""A warning is due when less than one subnet in this many is free."""
_MULTICAST: Final = (
    "it reaches an owner's sessions on the same machine, and is not carried to other machines: programs that find each"
    " other by it (mDNS, ROS 2) need to be on one machine, or the others' names"
)
_ORDER: Final = list(Severity)


@dataclass(frozen=True, slots=True)
class DiagnosisInput:
    """The input of a diagnosis."""

    port: int
    """UDP port of the overlay."""
    runners: Sequence[Runner] = ()
    paths: Sequence[Path] = ()
    sessions: Sequence[Session] = ()
    """A pair to be checked, a single session, or none to check the whole overlay."""
    subnets: Mapping[str, str] = field(default_factory=dict)
    """CIDR by uid of the runner, at least for those that run the sessions."""
    subnets_used: int = 0
    subnets_free: int = 1
    unmeasured: str = ""
    """Why no links were measured; '' if there were none to measure."""

    @property
    def runner_of(self) -> Mapping[str, Runner]:
        """Runners by uid."""
        return {runner.uid: runner for runner in self.runners}

    @property
    def involved(self) -> list[Runner]:
        """The runners of the sessions."""
        placed = {session.runner for session in self.sessions}
        return [runner for runner in self.runners if runner.uid in placed]

    @property
    def looked_at(self) -> list[Runner]:
        """The involved runners and those at the ends of paths; all runners if the whole overlay is checked."""
        placed = {session.runner for session in self.sessions}
        ends = {path.start for path in self.paths} | {path.end for path in self.paths}
        return [one for one in self.runners if not self.sessions or one.uid in placed or one.name in ends]


def diagnose(given: DiagnosisInput) -> list[Finding]:
    """The findings: problems first, the worst first, each with a remedy; then what is fine. Never empty."""
    away = frozenset(one.name for one in given.runners if one.state is RunnerState.OFFLINE or one.underlay is None)
    wrong = [
        *_sessions(given),
        *_owners(given),
        *_runners(given),
        *_clones(given),
        *path_findings(given.paths, given.port, away),
        *_problems(given),
        *_sizes(given),
        *_pool(given),
    ]
    return sorted([*wrong, *_healthy(given, wrong)], key=lambda finding: _ORDER.index(finding.severity))


def _sessions(given: DiagnosisInput) -> Iterator[Finding]:
    for session in given.sessions:
        if fault := _fault(session, given.runner_of.get(session.runner), given.subnets.get(session.runner, "")):
            yield Finding(Severity.FAIL, _called(session), *fault)


def _fault(session: Session, runner: Runner | None, subnet: str) -> tuple[str, str] | None:
    """What is wrong with a session, and the remedy. Problems of its runner are reported for the runner instead."""
    if session.state is not SessionState.RUNNING:
        silent = runner is not None and runner.state is RunnerState.OFFLINE
        return None if silent and session.state is SessionState.UNREACHABLE else _not_running(session)
    if session.spec.network is Network.NONE:
        return "it was made without a network (--network none)", "make another one with netvps create"
    if runner is None or runner.underlay is None or not (wrong := _misplaced(session, runner, subnet)):
        return None
    return wrong, f"netvps stop {session.full_name}, then netvps start {session.full_name}"


def _misplaced(session: Session, runner: Runner, subnet: str) -> str:
    """What is wrong with the address of a running session; '' if nothing is."""
    address = session.overlay_address
    if not address:
        return f"it started before its runner {runner.name} was on the overlay, and has no address there"
    if subnet and ip_address(session.local_address or address) not in ip_network(subnet):
        return f"its address {address} is not in the subnet of its runner, which is {subnet} now"
    if session.address not in {"", address}:
        return f"it runs with the address {session.address}, and not yet with {address}"
    return ""


def _not_running(session: Session) -> tuple[str, str]:
    why = f": {session.message}" if session.message else ""
    if session.desired is DesiredState.DELETED:
        return f"it is being removed{why}", "take another session"
    if session.state in {SessionState.STOPPED, SessionState.FAILED}:
        return f"it is {session.state}{why}", f"netvps start {session.full_name}"
    return f"it is {session.state}{why}", f"wait until it is RUNNING; netvps show {session.full_name} tells more"


def _owners(given: DiagnosisInput) -> Iterator[Finding]:
    owners = sorted({session.owner for session in given.sessions})
    if len(owners) > 1:
        subject = " - ".join(str(session.full_name) for session in given.sessions)
        text = f"one is {owners[0]}'s, the other {owners[1]}'s, and sessions of two owners do not reach each other"
        yield Finding(
            Severity.FAIL, subject, text, "have both made by one owner, or go through the gateway (netvps ssh -L)"
        )


def _runners(given: DiagnosisInput) -> Iterator[Finding]:
    """Runners that are offline or without the overlay."""
    involved = {runner.uid for runner in given.involved}
    answering = {path.end for path in given.paths if path.state in {PathState.UP, PathState.REDUCED}}
    for runner in given.looked_at:
        severity = Severity.FAIL if runner.uid in involved else Severity.WARN
        subject = f"runner {runner.name}"
        if runner.state is RunnerState.OFFLINE:
            text = f"it is offline, and was last heard of at {runner.last_seen:%Y-%m-%d %H:%M} UTC"
            if runner.name in answering and not runner.no_sessions:
                severity, text = Severity.WARN, f"{text}; its sessions are still reachable, but cannot resolve names"
            yield Finding(severity, subject, text, "see that its machine is on, and that netvps runner runs there")
        if runner.underlay is None:
            text = f"it has no overlay: {reason_without(runner)}"
            yield Finding(severity, subject, text, "fix that on its machine; the runner retries by itself")


def _clones(given: DiagnosisInput) -> Iterator[Finding]:
    at: defaultdict[str, list[Runner]] = defaultdict(list)
    for runner in given.runners:
        for address in runner.underlay.addresses if runner.underlay else ():
            at[address].append(runner)
    shared = {tuple(runners): address for address, runners in sorted(at.items(), reverse=True) if len(runners) > 1}
    looked_at = {runner.uid for runner in given.looked_at}
    for runners, address in sorted(shared.items(), key=lambda item: [runner.name for runner in item[0]]):
        if looked_at.isdisjoint(runner.uid for runner in runners):
            continue
        live = [runner for runner in runners if runner.state is RunnerState.ONLINE]
        names = sorted(runner.name for runner in runners)
        yield Finding(
            Severity.FAIL if len(live) > 1 else Severity.WARN,
            f"runner {names[0]}",
            f"{' and '.join(names)} say that they are at the same address, {address}",
            "remove the one that is gone (`netvps runner rm NAME`); a cloned machine needs an address of its own",
        )


def _problems(given: DiagnosisInput) -> Iterator[Finding]:
    """Problems that runners report, except links that were measured now and have a finding already."""
    names = {runner.uid: runner.name for runner in given.runners}
    looked_at, diagnosed = {runner.uid for runner in given.looked_at}, unhealthy_pairs(given.paths)
    for runner in given.looked_at:
        for problem in runner.problems if runner.underlay else ():
            pair = frozenset((runner.name, names.get(problem.peer, "")))
            if not problem.peer or (problem.peer in looked_at and pair not in diagnosed):
                text = f"it says: {problem.message}"
                yield Finding(Severity.WARN, f"runner {runner.name}", text, f"fix that on {runner.name}")


def _sizes(given: DiagnosisInput) -> Iterator[Finding]:
    """One finding about all runners with different MTUs."""
    by_size: defaultdict[int, list[str]] = defaultdict(list)
    for runner in given.looked_at:
        if runner.underlay:
            by_size[runner.underlay.mtu].append(runner.name)
    if len(by_size) > 1:
        sizes = ", ".join(f"{size} bytes on {_some(names)}" for size, names in sorted(by_size.items()))
        text = f"the MTUs of runners differ: {sizes}"
        remedy = "set one MTU on all interfaces towards each other; until then large UDP packets may not arrive"
        yield Finding(Severity.WARN, "MTU", text, remedy)


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _pool(given: DiagnosisInput) -> Iterator[Finding]:
    used, free = given.subnets_used, given.subnets_free
    if given.sessions or free * _SCARCE >= used + free:
        return
    text = f"{used} of {used + free} subnets are taken" if free else f"all {used} subnets are taken: no runner can join"
    yield Finding(
        Severity.WARN, "pool", text, "remove runners that are gone (`netvps runner rm NAME`), or set a larger pool"
    )


def _healthy(given: DiagnosisInput, wrong: Sequence[Finding]) -> Iterator[Finding]:
    at_fault = {finding.subject for finding in wrong}
    for session in given.sessions:
        runner = given.runner_of.get(session.runner)
        if _called(session) not in at_fault and session.state is SessionState.RUNNING and runner and runner.underlay:
            place = f"it runs on {runner.name} as {session.overlay_address}"
            yield Finding(Severity.OK, _called(session), place)
    yield from healthy_links(given.paths)
    if len([runner for runner in given.involved or given.runners if not runner.no_sessions]) > 1:
        yield Finding(Severity.OK, "multicast", _MULTICAST)
    if given.unmeasured:
        yield Finding(Severity.OK, "links", given.unmeasured)
    if not wrong:
        yield Finding(Severity.OK, "network", f"no fault found; looked at {_looked_at(given)}{_hint(given)}")


def _looked_at(given: DiagnosisInput) -> str:
    counts = {"session": len(given.sessions), "runner": len(given.looked_at), "link": len(given.paths)}
    counted = [f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items() if count]
    return " and ".join([", ".join([*counted, *([] if given.sessions else ["the pool"])])])


def _hint(given: DiagnosisInput) -> str:
    if len(given.sessions) < 2:  # noqa: PLR2004 — a pair
        return ""
    return "; if a service still does not answer, it may listen on 127.0.0.1 alone: let it listen on 0.0.0.0"


def _called(session: Session) -> str:
    return f"session {session.full_name}"
