"""Every command of README and quick start, run in order, as the people that they are for."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.system import NETVPS, Account, Answer, System, new_system

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
# A person answers these questions at a terminal.
_ANSWERED = {"rm": ["--yes"], "login": ["--yes"]}


@pytest.fixture
def system(debian: str) -> Iterator[System]:
    made = new_system()
    try:
        made.up("--default-image", debian)
        yield made
    finally:
        made.destroy()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where people are when they type; short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="nvg-") as name:
        yield Path(name)


def _lines(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = [line for block in _BLOCK.findall(text) for line in block.splitlines() if line]
    return [line for line in lines if not line.startswith("scripts/")]  # those are what CI itself runs


def _words(line: str, system: System, image: str) -> list[str]:
    """The command with what is different here: ports, the image, and the host that the guide cannot know."""
    here = {"2222": str(system.ports["ssh"]), "debian:12": image}
    host = f"127.0.0.1:{system.ports['api']}"
    words = (here.get(word, word) for word in shlex.split(line, comments=True))
    return [word.replace("HOST:7443", host).replace("HOST", host) for word in words]


def _type(person: Account, words: list[str], **options: object) -> Answer:
    folder = person.home
    if words[0] == "netvps":
        return person.run(*NETVPS, *words[1:], *_ANSWERED.get(words[1], []), cwd=folder, **options)  # type: ignore[arg-type]
    trust = ["-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={folder}/known_hosts"]
    made_by_create = folder / ".ssh/netvps_ed25519"
    return person.run(words[0], *trust, "-i", made_by_create, *words[1:], cwd=folder, stdin=subprocess.DEVNULL)


def _until(person: Account, words: list[str], said: bytes) -> None:
    """Runs what ends only when it is told to, until it has said something."""
    with subprocess.Popen(
        [*NETVPS, *words[1:]],
        cwd=person.home,
        env=person.full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            assert process.stdout is not None
            assert any(said in line for line in process.stdout), f"{words} never said {said!r}"
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_the_readme(system: System, debian: str, folder: Path) -> None:
    person, lines = Account(folder, system.environment), _lines("README.md")
    assert len(lines) >= 5
    for line in lines:
        _type(person, _words(line, system, debian), input=b"")
    assert system.traces() == []


def test_the_quick_start(system: System, debian: str, folder: Path) -> None:
    owner, alice, machine = _people(system, folder)
    person, key = owner, b""
    (owner.home / "file").write_text("a file")
    for line in _lines("docs/quickstart.md"):
        words = _words(line, system, debian)
        match words[1:]:
            case ["watch"]:
                _until(owner, words, b"web")
            case ["up", *flags]:
                system.netvps("down")
                system.up("--default-image", debian, *flags)
            case ["login", *_]:
                person = alice
                _type(alice, words, input=key)
            case ["runner", "join-token"]:
                person = owner
                (machine.home / "token").write_bytes(_type(owner, words).stdout)
            case ["runner", "--server", *_]:
                _until(machine, [*words, "--name", "second"], b'"connected"')
            case _:
                key = _type(person, words).stdout
    assert b"second" in owner.netvps("runner", "ls").stdout
    assert owner.netvps("ssh", "web", "--", "cat", "/root/file").stdout == b"a file"
    for name in owner.netvps("ls", "--all", "-o", "name").stdout.decode().split():
        owner.netvps("rm", "--yes", name)
    system.netvps("down")
    assert system.traces() == []


def _people(system: System, folder: Path) -> list[Account]:
    """Who started the system, somebody with a key to it, and another machine."""
    environments = {
        "owner": system.environment,
        "alice": {"NETVPS_SOCKET": str(folder / "none.sock")},
        "machine": {
            "NETVPS_STATE_DIR": f"{folder}/s",
            "NETVPS_RUNTIME_DIR": f"{folder}/r",
            "NETVPS_OVERLAY": "false",
        },
    }
    people = [Account(folder / name, environment) for name, environment in environments.items()]
    for person in people:
        person.home.mkdir()
    return people
