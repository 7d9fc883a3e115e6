"""`netvps audit`: what it lists, exports, and finds wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.domain.access.audit import FIRST, AuditEvent, AuditRecord, record
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient


def some() -> list[AuditRecord]:
    made: list[AuditRecord] = []
    for number, actor in enumerate(("alice", "", "bob\x1b[2J"), 1):
        details = (("sent_bytes", "17"),)
        event = AuditEvent(actor, "192.0.2.1:4711", "ssh.end", "sessions/dev1.alice", "OK", details)
        made.append(record(number, NOW, event, made[-1].digest if made else FIRST))
    return made


def test_the_newest_come_last_and_escape_codes_are_harmless(run: Run, fake: FakeClient) -> None:
    fake.records = some()
    ran = run("audit", "ls", "--limit", "2", "-o", "wide")
    heading, second, third = ran.out.splitlines()
    assert heading.split() == ["TIME", "USER", "FROM", "ACTION", "TARGET", "OUTCOME", "DETAILS"]
    assert " - " in second
    assert "bob" in third
    assert "sent_bytes 17" in third
    assert "\x1b" not in ran.out


def test_it_asks_for_what_the_options_say(run: Run, fake: FakeClient) -> None:
    run("audit", "ls", "--user", "alice", "--target", "users/bob", "--action", "ssh.login", "--since", "2h")
    ((_, query),) = fake.asked
    assert (query.actor, query.target, query.action, query.newest_first) == ("alice", "users/bob", "ssh.login", True)
    assert query.since is not None


def test_an_export_is_verified_without_the_server(run: Run, fake: FakeClient, tmp_path: Path) -> None:
    fake.records = some()
    exported = run("audit", "export").out
    assert len(exported.splitlines()) == 3
    file = tmp_path / "audit.jsonl"
    file.write_text(exported, encoding="utf-8")
    newest = fake.records[-1].digest
    fake.records = []
    ran = run("audit", "verify", "--file", str(file), "--newest", newest)
    assert (ran.code, ran.out) == (0, f"{newest}\n")
    assert "3 records are whole" in ran.err
    file.write_text("".join(line + "\n" for line in exported.splitlines()[:2]), encoding="utf-8")
    cut = run("audit", "verify", "--file", str(file), "--newest", newest)
    assert "cut off at the end" in cut.err
    assert cut.code != 0


@pytest.mark.parametrize("line", ["no json", '{"number": "x"}', '{"unknown": 1}', "[]"])
def test_a_file_that_is_no_export_is_named(run: Run, tmp_path: Path, line: str) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text(line + "\n", encoding="utf-8")
    ran = run("audit", "verify", "--file", str(file))
    assert ran.code == exit_codes.USAGE
    assert "line 1 of" in ran.err


def test_a_changed_record_is_named(run: Run, fake: FakeClient) -> None:
    fake.records = some()
    fake.records[1] = replace(fake.records[1], event=replace(fake.records[1].event, actor="eve"))
    ran = run("audit", "verify")
    assert "record 2 was changed" in ran.err
    assert ran.code == exit_codes.UNKNOWN


@pytest.mark.usefixtures("fake")
def test_no_records_are_no_fault(run: Run) -> None:
    ran = run("audit", "verify")
    assert (ran.code, ran.out) == (0, "")
    assert json.loads(run("audit", "ls", "-o", "json").out) == []
