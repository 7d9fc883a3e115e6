"""Texts for OpenSSH's configuration, read back by ssh itself; a person's own file is touched in one line only."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.cli.access.ssh_config import (
    Files,
    Gateway,
    config_text,
    include_line,
    known_hosts_text,
    quoted,
    sessions_text,
    with_include,
    without_include,
)
from netvps.errors import ConfigError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKeyHostKeyHostKeyHostKeyHostKeyHostKey0"
HERE = Gateway("local", "127.0.0.1", 2222, ("127.0.0.1", "localhost"), KEY, "/keys/here", ("dev1", "web"))
LAB = Gateway("lab", "gw.example", 2022, ("gw.example", "192.0.2.7"), KEY, "/keys/lab", ("web", "db"))
LINE = b'Include "/home/ann/.ssh/netvps/config"\n'

CA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostAuthorityHostAuthorityHostAuthority0"

lines = st.lists(
    st.binary(max_size=20) | st.sampled_from([b"Host *", b"  User x", b"Match all", b"", LINE.strip(), b"# x"]),
    max_size=8,
)
endings = st.sampled_from([b"\n", b"\r\n"])


@given(lines, endings, st.booleans())
def test_what_was_in_the_persons_own_file_stays_byte_for_byte(parts: list[bytes], end: bytes, ended: bool) -> None:
    text = end.join(parts) + (end if ended else b"")
    added = with_include(text, LINE)
    assert added in {text, LINE + text}
    assert with_include(added, LINE) == added
    if LINE.strip() not in [line.strip() for line in text.splitlines()]:
        assert without_include(added, LINE) == text


@given(lines, endings)
def test_no_line_of_netvps_is_left(parts: list[bytes], end: bytes) -> None:
    left = without_include(end.join(parts), LINE)
    assert LINE.strip() not in [line.strip() for line in left.splitlines()]


def test_a_line_below_a_section_does_not_count() -> None:
    text = b"Host a\n" + LINE
    assert with_include(text, LINE) == LINE + text


class Person:
    """A home with the files, as ssh reads them."""

    def __init__(self, home: Path, gateways: list[Gateway], own: str = "", refresh: str = "") -> None:
        self.files = Files.of(home)
        self.files.config.parent.mkdir()
        self.config = home / "config"
        self.config.write_bytes(with_include(own.encode(), include_line(self.files)))
        self.files.config.write_text(config_text(gateways, self.files, refresh))
        self.files.sessions.write_text(sessions_text(gateways, self.files))
        self.files.known_hosts.write_text(known_hosts_text(gateways))

    def means(self, *words: str) -> dict[str, list[str]]:
        """What ssh would do: option to its values."""
        found: dict[str, list[str]] = {}
        argv = ["ssh", "-G", "-F", str(self.config), *words]
        for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines():
            name, _, value = line.partition(" ")
            found.setdefault(name, []).append(value)
        return found


def test_a_session_by_its_name(tmp_path: Path) -> None:
    person = Person(tmp_path, [HERE, LAB])
    means = person.means("web.netvps")
    assert (means["user"], means["hostname"], means["port"]) == (["web"], ["127.0.0.1"], ["2222"])
    assert (means["identityfile"], means["identitiesonly"]) == (["/keys/here"], ["yes"])
    assert means["hostkeyalias"] == ["netvps-local"]
    assert means["userknownhostsfile"] == [str(tmp_path / "netvps/known_hosts")]
    assert means["stricthostkeychecking"] in (["true"], ["yes"])
    assert person.means("db.netvps")["hostname"] == ["gw.example"]
    assert person.means("www@dev1.netvps")["user"] == ["www"]


def test_a_session_by_its_own_name_is_led_to_by_the_first_gateway(tmp_path: Path) -> None:
    person = Person(tmp_path, [replace(LAB, host_ca=CA), replace(HERE, host_ca=CA)])
    means = person.means("dev1.ann.nv.internal")
    assert (means["user"], means["proxyjump"]) == (["root"], ["netvps-lab"])
    assert (means["hostname"], means["port"]) == (["dev1.ann.nv.internal"], ["22"])
    assert (means["identityfile"], means["identitiesonly"]) == (["/keys/lab"], ["yes"])
    assert "hostkeyalias" not in means
    gateway = person.means("netvps-lab")
    assert (gateway["user"], gateway["hostname"], gateway["port"]) == (["_netvps"], ["gw.example"], ["2022"])
    assert gateway["hostkeyalias"] == ["netvps-lab"]
    assert person.means("www@dev1.ann.nv.internal")["user"] == ["www"]
    assert known_hosts_text([LAB, replace(HERE, host_ca=CA)]).count("@cert-authority") == 0
    assert f"\n@cert-authority *.nv.internal {CA}\n" in person.files.known_hosts.read_text()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_gateway_by_its_address_and_port(tmp_path: Path, host: str) -> None:
    person = Person(tmp_path, [HERE, LAB])
    for words in (["-p", "2222", f"dev9@{host}"], [f"ssh://dev9@{host}:2222"], ["-o", "Port=2222", "-l", "dev9", host]):
        means = person.means(*words)
        assert (means["user"], means["port"], means["identityfile"]) == (["dev9"], ["2222"], ["/keys/here"])
        assert means["hostkeyalias"] == ["netvps-local"]


@pytest.mark.parametrize(
    "words",
    [["-p", "22", "127.0.0.1"], ["127.0.0.1"], ["-p", "2222", "192.0.2.7"], ["netvps"], ["-p", "2222", "127.0.0.12"],
     ["nosuch.netvps"]],
)  # fmt: skip
def test_other_servers_are_left_alone(tmp_path: Path, words: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    plain = subprocess.run(["ssh", "-G", "-F", str(empty), *words], capture_output=True, text=True, check=True).stdout
    person = Person(tmp_path, [HERE, LAB])
    ours = subprocess.run(
        ["ssh", "-G", "-F", str(person.config), *words], capture_output=True, text=True, check=True
    ).stdout
    assert ours == plain


def test_the_persons_own_settings_go_on_to_count(tmp_path: Path) -> None:
    own = "ServerAliveInterval 17\nHost *\n  Port 2200\n  IdentityFile /keys/own\n"
    person = Person(tmp_path, [HERE], own)
    means = person.means("dev1.netvps")
    assert (means["port"], means["serveraliveinterval"]) == (["2222"], ["17"])
    assert means["identityfile"] == ["/keys/here", "/keys/own"]
    assert person.means("elsewhere.example")["port"] == ["2200"]


def test_a_session_that_is_new_is_asked_for_once(tmp_path: Path) -> None:
    program = tmp_path / "bin-netvps"
    asked = tmp_path / "asked"
    files = Files.of(tmp_path)
    new = sessions_text([replace(HERE, sessions=("new",))], files).replace('"', '\\"')
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\ncat >{files.sessions} <<END\n{new}END\n'.replace('\\"', '"'))
    program.chmod(0o755)
    person = Person(tmp_path, [HERE], refresh=str(program))
    assert person.means("dev1.netvps")["user"] == ["dev1"]
    assert person.means("elsewhere.example")["hostname"] == ["elsewhere.example"]
    assert not asked.exists()
    assert person.means("new.netvps")["user"] == ["new"]
    assert asked.read_text() == "config-ssh --quiet\n"


@pytest.mark.parametrize("refresh", ["", "/opt/my progs/netvps", "/x;y/netvps"])
def test_a_program_that_a_shell_would_read_otherwise_is_not_named(refresh: str) -> None:
    assert "config-ssh --quiet" not in config_text([HERE], Files.of(Path("/home/ann/.ssh")), refresh)


@pytest.mark.parametrize("path", ['/a"b', "/a%b", "/a*b", "/a\nb", "/a\\b", "/a\udc80"])
def test_a_home_that_the_configuration_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot hold: set HOME"):
        quoted(Path(path))


def test_a_home_with_a_space_can_be_held(tmp_path: Path) -> None:
    home = tmp_path / "an n"
    home.mkdir()
    assert Person(home, [HERE]).means("dev1.netvps")["user"] == ["dev1"]


def test_sessions_by_their_own_names_are_reached_by_a_jump_or_by_the_proxy() -> None:
    certified, files = replace(HERE, host_ca=KEY), Files.of(Path("/home/ann/.ssh"))
    assert "ProxyJump netvps-local\n" in config_text([certified], files, "/opt/bin/netvps")
    proxied = replace(certified, proxy=True)
    command = "ProxyCommand /opt/bin/netvps --context local ssh-proxy %h\n"
    assert command in config_text([proxied], files, "/opt/bin/netvps")
    for program in ("", "/a path/netvps", "/p%d/netvps"):  # none, or one that ssh would not read as one word
        assert "ProxyJump netvps-local\n" in config_text([proxied], files, program)
