from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner, Result

from netvps import exit_codes
from netvps.cli.doctor.conclusion import conclude
from netvps.domain.finding import Finding, Severity

FINE, BAD = Finding(Severity.OK, "clock", "12:00"), Finding(Severity.FAIL, "disk", "full", "make room")


def concluded(found: list[Finding], form: str) -> Result:
    return CliRunner().invoke(click.Command("check", callback=lambda: conclude(found, form)))


@pytest.mark.parametrize(("found", "code"), [([FINE], exit_codes.OK), ([FINE, BAD], exit_codes.UNKNOWN)])
def test_what_fails_decides_the_exit_code(found: list[Finding], code: int) -> None:
    assert concluded(found, "table").exit_code == concluded(found, "json").exit_code == code


def test_a_line_says_how_bad_what_and_what_to_do() -> None:
    assert concluded([BAD], "table").stdout == "fail  disk          full; make room\n"


def test_programs_read_check_and_verdict() -> None:
    expected = {"check": "disk", "verdict": "fail", "text": "full", "remedy": "make room"}
    assert json.loads(concluded([BAD], "json").stdout) == [expected]
