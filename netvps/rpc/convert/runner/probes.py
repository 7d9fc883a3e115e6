"""Link measurements and their requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from netvps.api.v1 import link_pb2 as pb
from netvps.domain.overlay.peer_health import MAX_PROBED, Link, LinkState, ProbeReport, ProbeRequest
from netvps.errors import InvalidInput
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.texts import sentence, word

_MAX_TEXT: Final = 500
"""Maximum length of a runner's message for people."""
LINK_STATE = EnumPair(LinkState, pb.LinkState, "LINK_STATE_")


def probe_request_to_proto(request: ProbeRequest) -> pb.ProbeRequest:
    """Converts all fields."""
    return pb.ProbeRequest(probe_id=request.probe_id, peer_uids=request.peers)


def probe_request_from_proto(message: pb.ProbeRequest) -> ProbeRequest:
    """Parses a request. Raises InvalidInput."""
    if len(message.peer_uids) > MAX_PROBED:
        raise InvalidInput.of("peer_uids", f"{len(message.peer_uids)} are more than {MAX_PROBED}")
    return ProbeRequest(message.probe_id, tuple(message.peer_uids))


def probe_report_to_proto(report: ProbeReport) -> pb.ProbeReport:
    """Converts all fields."""
    return pb.ProbeReport(probe_id=report.probe_id, links=[_link_to_proto(link) for link in report.links])


def probe_report_from_proto(message: pb.ProbeReport) -> ProbeReport:
    """Parses a report. Raises InvalidInput."""
    if len(message.links) > MAX_PROBED:
        raise InvalidInput.of("links", f"{len(message.links)} are more than {MAX_PROBED}")
    return ProbeReport(word(message.probe_id, "probe_id"), tuple(_link_from_proto(link) for link in message.links))


def _link_to_proto(link: Link) -> pb.LinkReport:
    message = pb.LinkReport(
        peer_uid=link.peer, state=LINK_STATE.to_proto(link.state), mtu=link.mtu, message=link.message
    )
    if link.rtt is not None:
        message.rtt.FromTimedelta(timedelta(seconds=link.rtt))
    return message


def _link_from_proto(message: pb.LinkReport) -> Link:
    return Link(
        peer=word(message.peer_uid, "peer_uid"),
        state=LINK_STATE.from_proto(message.state, "state"),
        rtt=message.rtt.ToTimedelta().total_seconds() if message.HasField("rtt") else None,
        mtu=message.mtu,
        message=sentence(message.message, _MAX_TEXT),
    )
