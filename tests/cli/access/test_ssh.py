"""`netvps ssh`: which ssh it becomes, and when it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.access import local_keys
from netvps.domain.access.accounts import SshKey
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, NOW, FakeClient, put, session
from tests.fakes.keys import ed25519


class Became(BaseException):
    """This process would be that one now."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    lines: list[list[str]] = []

    def execv(program: str, line: list[str]) -> None:
        lines.append([Path(program).name, *line])
        raise Became

    monkeypatch.setattr(os, "execv", execv)
    return lines


def test_it_becomes_ssh_that_knows_the_host_key(
    run: Run, fake: FakeClient, became: list[list[str]], home: Path
) -> None:
    fake.sessions = {"dev1": session()}
    with pytest.raises(Became):
        run("ssh", "-t", "dev1", "-L", "8080:localhost:80", "-l", "bob", "--", "ls", "-l")
    known, certificate = home / "config/known_hosts_local", home / "config/certificate_local-cert.pub"
    assert became == [
        ["ssh", "ssh", "-p", "2222", "-o", "HostKeyAlias=netvps-local", "-o", f'UserKnownHostsFile="{known}"',
         "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no",
         "-o", "CheckHostIP=no", "-o", "IdentitiesOnly=yes", "-o", f'CertificateFile="{certificate}"',
         "-i", f"{home}/config/cli_ed25519", "-l", "dev1+bob", "-t", "-L", "8080:localhost:80",
         "127.0.0.1", "--", "ls", "-l"]
    ]  # fmt: skip
    algorithm, key, _ = INFO.ssh_host_key.split()
    assert known.read_text() == f"netvps-local {algorithm} {key}\n"
    assert known.stat().st_mode & 0o777 == 0o600
    assert certificate.read_text() == "ssh-ed25519-cert-v01@openssh.com AAAA\n"
    assert (home / "config/cli_ed25519").stat().st_mode & 0o777 == 0o600
    assert fake.keys == []
    assert not (home / ".ssh").exists()


def test_the_key_of_the_program_is_made_once_and_only_its_public_half_is_sent(
    run: Run, fake: FakeClient, became: list[list[str]], home: Path
) -> None:
    fake.sessions = {"dev1": session()}
    for _ in range(2):
        with pytest.raises(Became):
            run("ssh", "dev1")
    public = " ".join((home / "config/cli_ed25519.pub").read_text().split()[:2])
    assert [asked[1:] for asked in fake.asked if asked[0] == "issue_ssh_certificate"] == [(public,)] * 2
    assert became[0] == became[1]


# Servers of other versions, and machines without ssh-keygen


@pytest.fixture
def older(fake: FakeClient) -> FakeClient:
    fake.errors["issue_ssh_certificate"] = WrongState("the server does not know this call")
    return fake


@pytest.mark.usefixtures("older")
def test_a_key_of_our_making_is_named_and_the_usual_ones_with_it(
    run: Run, fake: FakeClient, became: list[list[str]], home: Path
) -> None:
    fake.sessions = {"dev1": session()}
    (home / ".ssh").mkdir()
    for name in ("id_rsa", "netvps_ed25519"):
        (home / ".ssh" / name).write_text("")
    with pytest.raises(Became):
        run("ssh", "dev1")
    assert _named(became[0]) == [f"{home}/.ssh/id_rsa", f"{home}/.ssh/netvps_ed25519"]
    assert "IdentitiesOnly=yes" not in became[0]


def _named(line: list[str]) -> list[str]:
    return [line[i + 1] for i, word in enumerate(line) if word == "-i"]


@pytest.mark.usefixtures("older")
def test_keys_that_get_in_are_the_only_ones_offered(
    run: Run, fake: FakeClient, became: list[list[str]], home: Path
) -> None:
    registered, given, unknown = (PublicKey.parse(ed25519(n)) for n in (1, 2, 3))
    fake.sessions = {"dev1": session(spec=SessionSpec(authorized_keys=(given.text,)))}
    fake.keys = [SshKey("1", "alice", registered.text, registered.fingerprint, "", NOW)]
    (home / ".ssh").mkdir()
    for name, key in {"id_ed25519": given, "id_rsa": unknown, "netvps_ed25519": registered}.items():
        (home / ".ssh" / name).write_text("")
        (home / ".ssh" / f"{name}.pub").write_text(key.text)
    with pytest.raises(Became):
        run("ssh", "dev1")
    assert _named(became[0]) == [f"{home}/.ssh/id_ed25519", f"{home}/.ssh/netvps_ed25519"]
    assert "IdentitiesOnly=yes" in became[0]


@pytest.mark.usefixtures("older")
def test_a_key_that_only_the_agent_has_is_named_by_its_public_half(
    run: Run, fake: FakeClient, became: list[list[str]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, registered = (PublicKey.parse(ed25519(n)) for n in (1, 2))
    monkeypatch.setattr(local_keys, "_agent_keys", lambda: ["no key", f"{other.text} a", f"{registered.text} b"])
    fake.sessions = {"dev1": session()}
    fake.keys = [SshKey("1", "alice", registered.text, registered.fingerprint, "", NOW)]
    with pytest.raises(Became):
        run("ssh", "dev1")
    (named,) = _named(became[0])
    assert Path(named) == home / "config/agent_key_local.pub"
    assert Path(named).read_text() == f"{registered.text}\n"
    assert "IdentitiesOnly=yes" in became[0]


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (session("dev1", SessionState.STOPPED, desired=DesiredState.STOPPED), 5, "is STOPPED; `netvps start dev1`"),
        (session("dev1", SessionState.FAILED, message="no image"), 5, "failed: no image; `netvps start dev1`"),
        (session("dev1", SessionState.UNREACHABLE, message="its runner is silent"), 7, "its runner is silent"),
        (session("dev1", SessionState.STOPPING, desired=DesiredState.DELETED), 5, "is being removed"),
    ],
)
def test_a_session_that_does_not_run_has_a_remedy(
    found: Session, code: int, said: str, *, run: Run, fake: FakeClient, became: list[list[str]]
) -> None:
    fake.sessions = {"dev1": found}
    ran = run("ssh", "dev1")
    assert ran.code == code
    assert said in ran.err
    assert became == []


def test_one_that_is_on_its_way_up_is_waited_for(run: Run, fake: FakeClient, became: list[list[str]]) -> None:
    fake.sessions = {"dev1": session("dev1", SessionState.STARTING)}
    fake.script = [put(session("dev1"), 2)]
    with pytest.raises(Became):
        run("ssh", "dev1")
    assert became


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("word", "code"), [("none", exit_codes.NOT_FOUND), ("UPPER", exit_codes.USAGE), ("a+b;c", 2)])
def test_bad_names(word: str, code: int, run: Run) -> None:
    assert run("ssh", word).code == code


def test_help_is_handled_by_netvps(run: Run) -> None:
    assert "netvps ssh dev1 -L 8080:localhost:80" in run("ssh", "--help").out
