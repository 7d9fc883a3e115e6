"""Parses DNS queries and builds answers (RFC 1035, 2308, 6891, 7766)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from netvps.domain.overlay.dns import TTL, Answer, Labels, Record

LARGEST: Final = 65_535
"""Bytes of a message over TCP."""
PAYLOAD: Final = 1232
"""Bytes of a UDP answer that fits into one packet on any path; for larger ones clients retry over TCP."""
_PLAIN: Final = 512
_HEADER: Final = 12
# Zone transfers, and types that are not questions about records.
_NOT_SERVED = frozenset(
    {
        dns.rdatatype.NONE,
        dns.rdatatype.OPT,
        dns.rdatatype.TKEY,
        dns.rdatatype.TSIG,
        dns.rdatatype.IXFR,
        dns.rdatatype.AXFR,
    }
)


@dataclass(frozen=True, slots=True)
class Query:
    """A valid question."""

    wire: bytes
    message: dns.message.Message
    limit: int
    """Maximum bytes of the answer."""

    @property
    def name(self) -> Labels:
        """The name in the question."""
        return tuple(label.lower().decode("latin-1") for label in self.message.question[0].name.labels[:-1])

    @property
    def kind(self) -> str:
        """The record type in the question."""
        return dns.rdatatype.to_text(self.message.question[0].rdtype)


def read(wire: bytes, *, stream: bool) -> Query | bytes | None:  # noqa: PLR0911 — one return per kind of message
    """Parses a message: a query; or the error answer to an invalid one; or None if it must not be answered.

    `stream`: it came over TCP.
    """
    if len(wire) < _HEADER or wire[2] & 0x80:  # answering a response could loop
        return None
    try:
        message = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return _bare(wire, dns.rcode.FORMERR)
    if message.opcode() != dns.opcode.QUERY:
        return _bare(wire, dns.rcode.NOTIMP)
    if len(message.question) != 1:
        return _bare(wire, dns.rcode.FORMERR)
    query = Query(wire, message, LARGEST if stream else min(max(message.payload, _PLAIN), PAYLOAD))
    if message.edns > 0:
        return failure(query, dns.rcode.BADVERS)
    question = message.question[0]
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _NOT_SERVED:
        return refusal(query)
    return query


def written(query: Query, answer: Answer) -> bytes:
    """Builds an authoritative answer."""
    response = _response(query)
    response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.from_text(answer.outcome))
    response.answer = [_rrset(query, record) for record in answer.records]
    response.authority = [_rrset(query, record) for record in answer.authority]
    return response.to_wire(max_size=query.limit, prefer_truncation=True)


def refusal(query: Query) -> bytes:
    """Builds the answer REFUSED."""
    return failure(query, dns.rcode.REFUSED)


def failure(query: Query, rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> bytes:
    """Builds an answer without records."""
    response = _response(query)
    response.set_rcode(rcode)
    return response.to_wire(max_size=query.limit)


def fitted(query: Query, reply: bytes) -> bytes:
    """Adapts a resolver's answer to this query; truncates one that is too long."""
    if len(reply) <= query.limit:
        return query.wire[:2] + reply[2:]
    response = _response(query)
    response.flags |= dns.flags.TC
    return response.to_wire(max_size=query.limit)


def answers(question: bytes, reply: bytes) -> bool:
    """Reports whether a reply belongs to this question: id, name, type and class."""
    try:
        asked = dns.message.from_wire(question, question_only=True)
        return asked.is_response(dns.message.from_wire(reply, question_only=True))
    except dns.exception.DNSException:
        return False


def truncated(reply: bytes) -> bool:
    """Reports whether the reply is truncated: the rest needs TCP."""
    return bool(reply[2] & 0x02)


def failed(reply: bytes) -> bool:
    """Reports whether the server failed or refused, so that another one may know the answer."""
    return (reply[3] & 0x0F) in {dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED}


def _response(query: Query) -> dns.message.Message:
    return dns.message.make_response(query.message, recursion_available=True, our_payload=PAYLOAD)


def _rrset(query: Query, record: Record) -> dns.rrset.RRset:
    """Builds a record set; keeps the question's capitalisation for its own name."""
    asked = query.message.question[0].name
    name = asked if record.name == query.name else dns.name.from_text(".".join(record.name) + ".")
    return dns.rrset.from_text(name, TTL, "IN", record.type, record.value)


def _bare(wire: bytes, rcode: int) -> bytes:
    """Builds a bare header for a question that cannot be parsed."""
    flags = bytes((0x80 | wire[2] & 0x79, 0x80 | rcode))
    return wire[:2] + flags + bytes(_HEADER - 4)
