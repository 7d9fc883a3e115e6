"""Stock clients reach sessions without options and without a question, whatever keys their account has."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.documents.printed import plain_ssh
from tests.e2e.system import Account, Answer, System, new_system

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture(scope="module")
def system(busybox: str) -> Iterator[System]:
    """With session dev1, made by an account that had no key."""
    made = new_system()
    try:
        for file in (made.home / ".ssh").iterdir():
            file.unlink()
        made.up("--default-image", busybox)
        made.netvps("create", "dev1")
        yield made
    finally:
        made.destroy()


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nvp-") as name:
        yield Path(name)


@contextmanager
def _agent(person: Account, keys: int) -> Iterator[None]:
    """An ssh-agent of that person with so many keys, the last of them in no file."""
    socket = person.home / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            person.environment |= {"SSH_AUTH_SOCK": str(socket)}
            for number in range(keys):
                file = person.home / f"agent-key-{number}"
                person.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)
                person.run("ssh-add", "-q", file)
                file.unlink()
            yield
        finally:
            del person.environment["SSH_AUTH_SOCK"]
            process.terminate()


def _ssh(person: Account, *words: str, check: bool = True) -> Answer:
    return person.run("ssh", *plain_ssh(person), *words, check=check, stdin=subprocess.DEVNULL)


def _both(person: Account, system: System, name: str = "dev1") -> None:
    """Both printed forms, and netvps ssh; none of them says anything."""
    forms = [(f"{name}.netvps",), (f"{name}@127.0.0.1", "-p", str(system.ports["ssh"]))]
    for words in forms:
        answer = _ssh(person, *words, "echo", "in")
        assert (answer.stdout, answer.stderr) == (b"in\n", b"")
    answer = person.netvps("ssh", name, "--", "echo", "in")
    assert (answer.stdout, answer.stderr) == (b"in\n", b"")


def test_an_account_without_a_key(system: System) -> None:
    _both(system, system)


def test_an_account_with_an_agent_full_of_keys(system: System) -> None:
    with _agent(system, 12):
        _both(system, system)


def test_keys_that_only_an_agent_has(system: System, home: Path) -> None:
    person = Account(home, {name: value for name, value in system.environment.items() if name != "SSH_AUTH_SOCK"})
    with _agent(person, 12):
        person.netvps("config-ssh")
        assert not list((home / ".ssh").glob("netvps_ed25519*"))
        _both(person, system)


def test_a_second_machine_of_the_same_person(system: System, home: Path) -> None:
    second = Account(home, {"NETVPS_SOCKET": str(home / "none.sock")})
    second.key()
    key = system.netvps("user", "api-key").stdout
    said = second.netvps("login", f"127.0.0.1:{system.ports['api']}", "--yes", input=key).stderr.decode()
    assert f"{home}/.ssh/config includes {home}/.ssh/netvps/config now" in said
    _both(second, system)
    system.netvps("create", "late")  # its name is not known there yet; no program `netvps` is on the PATH of tests
    second.netvps("config-ssh")
    _both(second, system, "late")
    system.netvps("rm", "--yes", "late")
    second.netvps("logout")
    assert sorted(file.name for file in (home / ".ssh").iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_no_key_is_registered_where_only_netvps_ssh_is_used(system: System, home: Path) -> None:
    person = Account(home, dict(system.environment))
    before = system.netvps("key", "ls", "-o", "name").stdout
    person.netvps("ssh", "dev1", "--", "true")
    assert system.netvps("key", "ls", "-o", "name").stdout == before
    assert not (home / ".ssh").exists()


def test_dropbear(system: System, home: Path) -> None:
    person = Account(home, dict(system.environment))
    key = home / "key"
    made = person.run("dropbearkey", "-t", "ed25519", "-f", key).stdout.decode().splitlines()
    (public,) = [line for line in made if line.startswith("ssh-ed25519 ")]
    client = ("dbclient", "-y", "-y", "-i", key, "-p", str(system.ports["ssh"]), "dev1@127.0.0.1", "echo in")
    refused = person.run(*client, check=False, stdin=subprocess.DEVNULL)
    assert b"netvps: session dev1 is not open to key SHA256:" in refused.stderr
    assert b"`netvps key add` registers a key" in refused.stderr
    person.netvps("key", "add", "-", input=public.encode())
    assert person.run(*client, stdin=subprocess.DEVNULL).stdout == b"in\n"


def test_what_was_set_up_is_removed_without_a_trace(system: System, home: Path) -> None:
    person = Account(home, dict(system.environment))
    (home / ".ssh").mkdir(mode=0o700)
    own = home / ".ssh/config"
    own.write_bytes(b"# mine\r\nHost a\n  User b")
    own.chmod(0o640)
    person.netvps("config-ssh")
    _both(person, system)
    person.netvps("config-ssh", "--remove")
    assert (own.read_bytes(), own.stat().st_mode & 0o777) == (b"# mine\r\nHost a\n  User b", 0o640)
    assert not (home / ".ssh/netvps").exists()
    assert _ssh(person, "dev1.netvps", check=False).returncode == 255
