"""The overlay for people: summary, paths between runners, findings."""

from __future__ import annotations

from netvps.api.v1 import network_pb2 as pb
from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.path import Path, PathState
from netvps.domain.overlay.settings import OverlaySettings, Overview
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import duration_from_proto, duration_to_proto

PATH_STATE = EnumPair(PathState, pb.NetworkLinkState, "NETWORK_LINK_STATE_")
SEVERITY = EnumPair(Severity, pb.FindingSeverity, "FINDING_SEVERITY_")


def overview_to_proto(overview: Overview) -> pb.Network:
    """Converts all fields except the cluster id, which is in ServerInfo."""
    return pb.Network(
        pool=overview.overlay_settings.pool,
        prefix=overview.prefix,
        vni=overview.overlay_settings.vni,
        port=overview.overlay_settings.port,
        netmap_generation=overview.generation,
        runners_on=overview.runners_on,
        runners_off=overview.runners_off,
        subnets_used=overview.subnets_used,
        subnets_free=overview.subnets_free,
        session_count=overview.sessions,
    )


def overview_from_proto(message: pb.Network) -> Overview:
    """Converts all fields; the cluster id is empty."""
    return Overview(
        overlay_settings=OverlaySettings("", message.pool, message.vni, message.port),
        prefix=message.prefix,
        generation=message.netmap_generation,
        runners_on=message.runners_on,
        runners_off=message.runners_off,
        subnets_used=message.subnets_used,
        subnets_free=message.subnets_free,
        sessions=message.session_count,
    )


def path_to_proto(path: Path) -> pb.NetworkLink:
    """Converts all fields."""
    return pb.NetworkLink(
        from_runner=names.runner_name(path.start),
        to_runner=names.runner_name(path.end),
        state=PATH_STATE.to_proto(path.state),
        rtt=None if path.rtt is None else duration_to_proto(path.rtt),
        mtu=path.mtu,
        expected_mtu=path.expected_mtu,
        from_address=path.start_address,
        to_address=path.end_address,
        message=path.message,
    )


def path_from_proto(message: pb.NetworkLink) -> Path:
    """Parses a path. Raises InvalidInput."""
    return Path(
        start=names.parse_runner_name(message.from_runner, "from_runner"),
        end=names.parse_runner_name(message.to_runner, "to_runner"),
        state=PATH_STATE.from_proto(message.state, "state"),
        rtt=duration_from_proto(message.rtt) if message.HasField("rtt") else None,
        mtu=message.mtu,
        expected_mtu=message.expected_mtu,
        start_address=message.from_address,
        end_address=message.to_address,
        message=message.message,
    )


def finding_to_proto(finding: Finding) -> pb.NetworkFinding:
    """Converts all fields."""
    return pb.NetworkFinding(
        severity=SEVERITY.to_proto(finding.severity),
        subject=finding.subject,
        text=finding.text,
        remedy=finding.remedy,
    )


def finding_from_proto(message: pb.NetworkFinding) -> Finding:
    """Parses a finding. Raises InvalidInput."""
    severity = SEVERITY.from_proto(message.severity, "severity")
    return Finding(severity, message.subject, message.text, message.remedy)
