"""Every command of the other pages that one machine can run, as printed."""

from __future__ import annotations

import ast
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.process.account import user_name
from tests.e2e.documents.printed import people, run_printed, words_of
from tests.e2e.system import Account, System, docker, new_system
from tests.project.doc_pages import python_blocks, run_lines
from tests.support.oidc_issuer import CLIENT, SECRET, FakeIssuer, issuer_in_thread
from tests.support.registry import PASSWORD, lacks_registry, push, registry

if TYPE_CHECKING:
    from tests.support.postgres import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture(scope="module")
def system(busybox: str, issuer: FakeIssuer) -> Iterator[System]:
    made = new_system()
    try:
        made.up("--default-image", busybox, "--registration", "invite_only", *oidc_options(issuer, made.home))
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with issuer_in_thread() as served:
        yield served


def oidc_options(issuer: FakeIssuer, folder: Path) -> list[str]:
    """What the page tells an admin to give to the server."""
    secret = folder / "oidc-secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    options = ["--oidc-issuer", issuer.url, "--oidc-client-id", CLIENT, "--oidc-domains", "example.org"]
    return [*options, "--oidc-client-secret-file", str(secret)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nvg-") as name:
        yield Path(name)


@pytest.mark.parametrize("page", ["docs/people.md", "docs/ports.md", "docs/problems.md", "docs/settings.md"])
def test_what_looks_at_a_machine(system: System, busybox: str, page: str) -> None:
    lines = run_lines(page)
    assert lines
    for line in lines:
        run_printed(system, words_of(line, system, busybox))


def test_an_invited_person_registers_and_logs_in(system: System, tmp_path: Path) -> None:
    """By the command that `invite create` prints, on a machine that knows nothing of the server."""
    token = tmp_path / "token"
    said = system.netvps("invite", "create", "--note", "Erin", "--file", token).stderr.decode()
    (command,) = [line.strip() for line in said.splitlines() if line.strip().startswith("netvps register")]
    _, *words = command.replace("NAME", "erin").split()
    erin = Account(tmp_path / "erin", {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    erin.home.mkdir()
    assert erin.netvps(*words, "--token-file", token).stdout == b"erin\n"
    assert erin.netvps("whoami", "-o", "name").stdout == b"erin\n"
    assert len(erin.netvps("key", "ls", "-o", "name").stdout.splitlines()) == 1
    again = erin.netvps(*words, "--name", "again", "--token-file", token, check=False)
    assert b"unknown, used, expired or revoked" in again.stderr
    assert b"redeemed by erin" in system.netvps("invite", "ls").stdout
    system.netvps("user", "rm", "--yes", "erin")


def test_a_person_logs_in_with_their_companys_account(system: System, issuer: FakeIssuer, tmp_path: Path) -> None:
    """By the commands of the page, on a machine that knows nothing of the server; each refusal says what to do."""
    ann = Account(tmp_path / "ann", {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    ann.home.mkdir()
    issuer.confirmed, issuer.claims = True, {"aud": "another"}
    login, *rest = [words_of(line, system, "") for line in run_lines("docs/login.md")]
    refused = run_printed(ann, login, check=False)
    assert b"its aud is 'another'; an admin compares oidc_audience" in refused.stderr
    issuer.claims, issuer.answers = {}, [{"error": "authorization_pending"}]  # confirmed a moment later
    said = run_printed(ann, login).stderr
    assert f"{issuer.url}/confirm?user_code=WDJB-MJHT".encode() in said
    assert b"you are ann-lee (user)" in said
    assert [run_printed(ann, words).returncode for words in rest] == [0] * len(rest)
    assert ann.netvps("ssh", "dev1", "--", "echo", "in").stdout == b"in\n"
    ann.netvps("rm", "--yes", "dev1")
    issuer.hangs = "token"
    assert ann.netvps("whoami", "-o", "name").stdout == b"ann-lee\n"  # all else goes on without the issuer
    issuer.hangs = ""
    assert b"LoginService/FinishLogin" in system.netvps("audit", "ls").stdout
    system.netvps("user", "rm", "--yes", "ann-lee")


def test_the_page_of_snapshots(system: System, busybox: str) -> None:
    """A restore brings a file back; clones have it."""
    system.netvps("create", "web")
    system.netvps("exec", "web", "--", "sh", "-c", "echo before > /root/file")
    try:
        for line in run_lines("docs/snapshots.md"):
            if line.startswith("netvps snapshot restore"):
                system.netvps("exec", "web", "--", "sh", "-c", "echo after > /root/file")
            run_printed(system, words_of(line, system, busybox))
        for name in ("web", "web2", "web3"):
            assert system.netvps("exec", name, "--", "cat", "/root/file").stdout == b"before\n"
    finally:
        system.netvps("rm", "--yes", "web", "web2", "web3", check=False)


def test_the_page_of_ssh(system: System, busybox: str) -> None:
    system.netvps("create", "dev1")
    try:
        said = [
            run_printed(system, words_of(line.replace(".alice.", f".{user_name()}."), system, busybox)).stdout
            for line in run_lines("docs/ssh.md")
        ]
        assert said[-1] == b"dev1\n"
    finally:
        system.netvps("rm", "--yes", "dev1", check=False)


def test_the_page_of_sleep(system: System, busybox: str) -> None:
    system.netvps("create", "dev1")
    try:
        said = [run_printed(system, words_of(line, system, busybox)).stdout for line in run_lines("docs/sleep.md")]
        assert b"KEEPS IT AWAKE UNTIL" in said[1]
    finally:
        system.netvps("rm", "--yes", "dev1", check=False)


def test_the_page_of_environments(system: System, busybox: str) -> None:
    """A registry has the image; each command does what the page says of it."""
    if why := lacks_registry():
        pytest.skip(why)
    lines = run_lines("docs/environments.md")
    (system.home / "tools").mkdir()
    (system.home / "tools/Dockerfile").write_text(f"FROM {busybox}\nRUN echo built > /built\n")
    lines.sort(key=lambda line: not line.startswith("netvps registry login"))  # which the other commands need here
    with registry(password=True) as address:
        name = f"{address}/tools:1"
        own = system.home / "own"  # sessions of other tests on this engine use busybox's
        own.mkdir()
        (own / "Dockerfile").write_text(f"FROM {busybox}\nLABEL registry={address}\n")
        docker("build", "-q", "-t", name, str(own))
        push(name)
        docker("rmi", name)
        for line in lines:
            words = words_of(line.replace("registry.example", address), system, busybox)
            printed = run_printed(system, words, input=f"{PASSWORD}\n".encode()).stdout
            match line.split()[2:]:
                case ["pull", _] | ["default"]:
                    assert printed == f"{name}\n".encode()
                    assert name in system.netvps("env", "ls").stdout.decode()
                case ["default", "--reset"]:
                    assert printed == f"{busybox}\n".encode()
                case ["build", *_]:
                    assert printed == b"netvps/tools:latest\n"
                case ["built", *_]:
                    assert system.netvps("exec", "built", "--", "cat", "/built").stdout == b"built\n"
                    refused = system.netvps("env", "rm", "--yes", "netvps/tools", check=False)
                    assert b"is used by session built" in refused.stderr
                case ["publish", *_]:
                    system.netvps("create", "second", "--image", "netvps/handmade")
                    found = system.netvps("exec", "second", "--", "cat", "/root/by-hand", "/built").stdout
                    assert found == b"by hand\nbuilt\n"
                    system.netvps("rm", "--yes", "built", "work", "second")
                    for made in ("netvps/tools", "netvps/handmade"):
                        system.netvps("env", "rm", "--yes", made)
                case ["rm", _]:
                    assert name not in system.netvps("env", "ls").stdout.decode()


def test_the_security_page(system: System, busybox: str, folder: Path) -> None:
    _, alice, _ = people(system, folder)
    system.netvps("user", "add", "alice")
    (alice.home / "key").write_bytes(system.netvps("user", "api-key", "alice").stdout)
    for line in run_lines("docs/security.md"):
        run_printed(alice, words_of(line.replace("FINGERPRINT", _ca_fingerprint(system)), system, busybox))
    assert alice.netvps("ls", "--owner", "alice").returncode == 0


def test_the_page_of_keys(system: System, busybox: str, folder: Path) -> None:
    _, second, _ = people(system, folder)
    key = system.netvps("user", "api-key").stdout
    without_netvps = {name: Account(folder / name) for name in ("second", "colleague")}
    for name, person in without_netvps.items():
        person.home.mkdir()
        (system.home / f"{name}.pub").write_bytes(person.key().with_suffix(".pub").read_bytes())
    revoked = _fingerprint(system, "second.pub")
    typist: Account = system
    for line in run_lines("docs/keys.md"):
        words = words_of(line.replace("SHA256:FINGERPRINT", revoked), system, busybox)
        if words[:2] == ["netvps", "login"]:
            typist = second
        elif words[:2] in (["netvps", "key"], ["netvps", "create"], ["netvps", "cert"]):
            typist = system
        run_printed(typist, words, input=key if words[1] == "login" else b"")
        match words[1:]:
            case ["key", "ls"]:
                typist = without_netvps["second"]
            case ["create", "shared", *_]:
                typist = without_netvps["colleague"]
    assert revoked not in system.netvps("key", "ls").stdout.decode()
    system.netvps("rm", "--yes", "web", "shared")


def test_the_page_of_the_api(system: System, busybox: str, folder: Path) -> None:
    job, printed = Account(folder), b""
    program, *others = python_blocks("docs/api.md")
    for other in others:
        compile(other, "docs/api.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    (job.home / "example.py").write_text(program)
    for line in run_lines("docs/api.md"):
        words = words_of(line, system, busybox)
        if words[0] == "netvps":
            run_printed(system, words)
            if ">" in line.split():
                shutil.copy(system.home / words[-1], job.home)
        else:
            printed = run_printed(job, words).stdout
    assert printed == b"Linux\nexit code 0\n"
    assert system.netvps("ssh", "build", "--", "uname").stdout == b"Linux\n"
    system.netvps("rm", "--yes", "build")
    assert not (job.home / ".ssh").exists()


def test_the_page_of_remote_use(system: System, busybox: str, folder: Path) -> None:
    _, laptop, _ = people(system, folder)
    system.netvps("user", "add", "bob")
    key = system.netvps("user", "api-key", "bob").stdout
    (laptop.home / "file").write_text("a file")
    for line in run_lines("docs/remote.md"):
        words = words_of(line, system, busybox)
        if words[:2] == ["netvps", "up"]:
            system.netvps("down")
            system.up("--default-image", busybox, *words[2:])
        else:
            run_printed(laptop, words, input=key if words[1] == "login" else b"")
    assert laptop.netvps("ssh", "dev", "--", "cat", "/root/file").stdout == b"a file"
    laptop.netvps("rm", "--yes", "dev")


def test_the_page_of_operations(system: System, busybox: str, folder: Path) -> None:
    for line in run_lines("docs/operations.md"):
        words = words_of(line.replace("/backup", str(folder)), system, busybox)
        if words[1] == "up":
            system.up("--default-image", busybox)
        else:
            run_printed(system, words)
    assert system.netvps("ls").returncode == 0


@pytest.mark.postgres
def test_the_page_of_postgresql(cluster: Cluster, busybox: str, folder: Path) -> None:
    """PostgreSQL listens at a socket here; its administrator is the account that the cluster has."""
    system = new_system()
    url, dump = folder / "database-url", cluster.folder / "netvps.dump"
    try:
        for line in run_lines("docs/postgresql.md"):
            here = line.replace("/etc/netvps", str(folder)).replace("/var/lib/netvps", str(system.state))
            here = here.replace("/root/", f"{folder}/").replace("/var/lib/postgresql/netvps.dump", str(dump))
            match words := shlex.split(here):
                case ["sudo", "-u", "postgres", *command]:
                    _as_administrator(cluster, command)
                case ["netvps", "up", *flags]:
                    url.write_text(f"postgresql://netvps:secret@/netvps?host={cluster.folder}\n")
                    system.up("--default-image", busybox, *flags)
                    if not dump.exists():
                        system.netvps("create", "kept")
                case ["netvps", "doctor"]:
                    assert b"the server reads it" in run_printed(system, words).stdout
                case _:
                    system.run(*words)
        assert b"kept" in system.netvps("ls").stdout
        system.netvps("rm", "--yes", "kept")
    finally:
        system.destroy()


def _as_administrator(cluster: Cluster, command: list[str]) -> None:
    """Runs a program of PostgreSQL; the password that createuser asks for is typed twice."""
    environment = {"PATH": "/usr/bin:/bin", "PGHOST": str(cluster.folder), "PGUSER": "postgres", "LC_ALL": "C"}
    done = subprocess.run(
        command,
        user=cluster.user,
        env=environment,
        cwd="/",
        input=b"secret\nsecret\n",
        capture_output=True,
        check=False,
        timeout=60,
        start_new_session=True,  # without a terminal, it reads the password from stdin
    )
    assert done.returncode == 0, done.stderr.decode()


def _ca_fingerprint(system: System) -> str:
    said = system.netvps("doctor").stdout.decode()
    return said.partition("CA SHA-256 ")[2].split()[0]


def _fingerprint(person: Account, file: str) -> str:
    return person.run("ssh-keygen", "-lf", person.home / file).stdout.decode().split()[1]
