"""Each error is one line, and its row of the table."""

from __future__ import annotations

import pytest

from netvps import errors, exit_codes
from netvps.exit_codes import of
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput.of("spec.cpus", "0 is too few"), 2),
        (errors.NotFound("no session dev1"), 3),
        (errors.NotPermitted("not yours"), 4),
        (errors.Unauthenticated("no key"), 4),
        (errors.AlreadyExists("taken"), 5),
        (errors.WrongState("it is stopped"), 5),
        (errors.Changed("read again"), 5),
        (errors.Exhausted("no room"), 6),
        (errors.Unavailable("try again"), 7),
        (errors.TimedOut("too slow"), 8),
        (exit_codes.Cancelled("stopped waiting"), 130),
        (errors.ConfigError("mend it"), 10),
        (errors.InternalError("a bug"), 1),
    ],
)
def test_each_error_is_one_line_and_its_code(error: BaseException, code: int, run: Run, fake: FakeClient) -> None:
    fake.errors["list_sessions"] = error
    ran = run("ls")
    assert ran.code == code
    assert ran.out == ""
    assert ran.err == f"netvps: {error}\n"


def test_ctrl_c_is_shown_below_the_line_it_was_typed_in(run: Run, fake: FakeClient) -> None:
    fake.errors["list_sessions"] = KeyboardInterrupt()
    ran = run("ls")
    assert (ran.code, ran.err) == (exit_codes.INTERRUPTED, "\nnetvps: interrupted\n")


def test_an_error_without_a_row_has_the_code_of_its_nearest_kin() -> None:
    class ImageMissing(errors.NotFound):
        pass

    assert of(ImageMissing("no such image")) == exit_codes.NOT_FOUND
    assert of(errors.NetvpsError("something")) == exit_codes.UNKNOWN
