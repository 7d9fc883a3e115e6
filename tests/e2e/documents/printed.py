"""Commands of the documents, typed as printed by the people that they are for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from tests.e2e.system import NETVPS, Account, Answer, System

# A person answers these questions at a terminal.
_VARIABLE = re.compile(r"[A-Z_]+=\S*")
_ANSWERED = {"rm": ["--yes"], "login": ["--yes"], "env rm": ["--yes"]}


def words_of(line: str, system: System, image: str) -> list[str]:
    """The command with what is different here: ports, the image, and the host that the guide cannot know."""
    here = {"2222": str(system.ports["ssh"]), "debian:12": image}
    host = f"127.0.0.1:{system.ports['api']}"
    words = [here.get(word, word) for word in shlex.split(line, comments=True)]
    alone = host if words[0] == "netvps" else "127.0.0.1"
    return [word.replace("HOST:7443", host).replace("HOST", alone) for word in words]


def run_printed(person: Account, words: list[str], **options: object) -> Answer:
    """Runs a command to its end, with variables before it and a file after '>'; what it asks is answered with yes."""
    folder = person.home
    variables = dict(word.split("=", 1) for word in takewhile(_VARIABLE.fullmatch, words))
    words = words[len(variables) :]
    if variables:
        person = Account(folder, person.environment | variables)
    if ">" in words:
        answer = run_printed(person, words[: words.index(">")], **options)
        (folder / words[-1]).write_bytes(answer.stdout)
        return answer
    if words[0] == "netvps":
        answers = (
            [] if "--ca-fingerprint" in words else _ANSWERED.get(words[1], _ANSWERED.get(" ".join(words[1:3]), []))
        )
        return person.run(*NETVPS, *words[1:], *answers, cwd=folder, **options)  # type: ignore[arg-type]
    if words[0] == "python3":
        return person.run(sys.executable, *words[1:], cwd=folder)  # where netvps is installed
    return person.run(words[0], *plain_ssh(person), *words[1:], cwd=folder, stdin=subprocess.DEVNULL)


def plain_ssh(person: Account) -> list[str]:
    """What OpenSSH reads in a person's home by itself; here it must be named, as it goes by /etc/passwd, not by HOME.

    Nothing may be asked. Who has no configuration accepts a new host, and has the usual key.
    """
    folder = person.home / ".ssh"
    if (folder / "config").exists():
        return ["-F", str(folder / "config"), "-o", "BatchMode=yes"]
    own = ["-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={folder}/known_hosts"]
    return ["-F", "none", "-o", "BatchMode=yes", *own, "-i", f"{folder}/id_ed25519"]


def run_until(person: Account, words: list[str], said: bytes) -> None:
    """Runs what ends only when it is asked to, until it has said something."""
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


def people(system: System, folder: Path) -> list[Account]:
    """The person who started the system, one with a key to it, and another machine."""
    environments = {
        "owner": system.environment,
        "alice": {"NETVPS_SOCKET": str(folder / "none.sock")},
        "machine": {
            "NETVPS_STATE_DIR": f"{folder}/s",
            "NETVPS_RUNTIME_DIR": f"{folder}/r",
            "NETVPS_OVERLAY": "false",
        },
    }
    found = [Account(folder / name, environment) for name, environment in environments.items()]
    for person in found:
        person.home.mkdir()
    return found
