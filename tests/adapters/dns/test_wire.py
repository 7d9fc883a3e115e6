"""Messages: what is read, what is refused, and that nothing in them is more than an answer."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.dns.wire import (
    LARGEST,
    PAYLOAD,
    Query,
    answers,
    failed,
    failure,
    fitted,
    read,
    truncated,
    written,
)
from netvps.domain.overlay.dns import Answer, Outcome, Record

NAME = ("web", "ann", "nv", "internal")
SOA = Record(("nv", "internal"), "SOA", "nv.internal. hostmaster.nv.internal. 7 60 60 3600 5")


def question(name: str = "Web.Ann.NV.internal.", kind: str = "A", **options: object) -> Query:
    message = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    query = read(message.to_wire(), stream=False)
    assert isinstance(query, Query)
    return query


def rcode_of(wire: bytes | Query | None) -> str:
    assert isinstance(wire, bytes)
    return dns.rcode.to_text(dns.message.from_wire(wire).rcode())


def test_a_question_is_read_in_lower_case() -> None:
    query = question()
    assert (query.name, query.kind, query.limit) == (NAME, "A", 512)
    assert question(use_edns=0, payload=900).limit == 900
    assert question(use_edns=0, payload=4096).limit == PAYLOAD
    over_tcp = read(query.wire, stream=True)
    assert isinstance(over_tcp, Query)
    assert over_tcp.limit == LARGEST


def test_an_answer_is_named_as_it_was_asked_for() -> None:
    wire = written(question(), Answer(Outcome.FOUND, (Record(NAME, "A", "10.128.4.2"),)))
    response = dns.message.from_wire(wire)
    assert str(response.answer[0]) == "Web.Ann.NV.internal. 5 IN A 10.128.4.2"
    assert dns.flags.to_text(response.flags) == "QR AA RD RA"
    assert answers(question().wire[:0] + wire[:2] + question().wire[2:], wire)


def test_that_a_name_is_not_there_may_be_remembered_for_as_long_as_the_zone_says() -> None:
    response = dns.message.from_wire(written(question(), Answer(Outcome.UNKNOWN, authority=(SOA,))))
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert str(response.authority[0]).lower().startswith("nv.internal. 5 in soa nv.internal. ")


def test_edns_is_answered_with_edns() -> None:
    query = question(use_edns=0, payload=4096)
    response = dns.message.from_wire(written(query, Answer(Outcome.FOUND, authority=(SOA,))))
    assert (response.edns, response.payload) == (0, PAYLOAD)
    newer = dns.message.make_query("web.ann.nv.internal.", "A", use_edns=3)
    assert rcode_of(read(newer.to_wire(), stream=False)) == "BADVERS"


def test_a_foreign_question_is_refused_by_its_kind() -> None:
    def outcome(message: dns.message.Message) -> str:
        return rcode_of(read(message.to_wire(), stream=True))

    assert outcome(dns.message.make_query("nv.internal.", "AXFR")) == "REFUSED"
    assert outcome(dns.message.make_query("version.bind.", "TXT", rdclass=dns.rdataclass.CH)) == "REFUSED"
    notify = dns.message.make_query("nv.internal.", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    assert outcome(notify) == "NOTIMP"
    two = dns.message.make_query("nv.internal.", "SOA")
    two.question = [*two.question, *dns.message.make_query("b.nv.internal.", "SOA").question]
    assert outcome(two) == "FORMERR"


def test_answers_are_never_answered() -> None:
    wire = written(question(), Answer(Outcome.FOUND))
    assert read(wire, stream=False) is None
    assert read(b"\0" * 11, stream=False) is None


def test_what_is_too_long_says_so() -> None:
    query = question()
    long = Answer(Outcome.FOUND, tuple(Record(NAME, "TXT", f'"{n:0200}"') for n in range(9)))
    wire = written(query, long)
    assert truncated(wire)
    assert len(wire) <= 512
    foreign = query.wire[:2] + wire[2:] + bytes(2000)
    cut = fitted(query, foreign)
    assert truncated(cut)
    assert len(cut) <= 512
    assert answers(query.wire, cut)


def test_an_answer_of_another_server_gets_the_id_of_the_question() -> None:
    query = question()
    foreign = b"\x12\x34" + failure(query)[2:]
    assert fitted(query, foreign)[:2] == query.wire[:2]
    assert failed(foreign)
    assert not truncated(foreign)


def test_only_an_answer_to_the_very_question_is_one() -> None:
    wire = question().wire
    assert answers(wire, failure(question("web.ann.nv.internal."))) is False  # another id
    other = failure(question("other.ann.nv.internal."))
    assert not answers(wire, wire[:2] + other[2:])
    assert not answers(wire, wire)
    assert not answers(wire, b"")
    assert answers(wire, wire[:2] + failure(question("web.ann.nv.internal."))[2:])


@given(st.binary(max_size=600))
def test_garbage_gets_a_short_answer_or_none(wire: bytes) -> None:
    _check(wire)


@given(st.data())
def test_damaged_questions_too(data: st.DataObject) -> None:
    message = dns.message.make_query(
        "web.ann.nv.internal.", "A", use_edns=0, options=[dns.edns.CookieOption(b"12345678", b"")]
    )
    wire = bytearray(message.to_wire())
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    _check(bytes(wire[: data.draw(st.integers(0, len(wire)))]))


def _check(wire: bytes) -> None:
    got = read(wire, stream=False)
    if isinstance(got, Query):
        reply = written(got, Answer(Outcome.FOUND, (Record(got.name, "A", "10.128.4.2"),), (SOA,)))
        assert len(reply) <= got.limit
        assert len(failure(got)) <= got.limit
        assert answers(wire, reply)
        assert got.kind
    elif got is not None:
        assert got[:2] == wire[:2]
        assert len(got) <= PAYLOAD
