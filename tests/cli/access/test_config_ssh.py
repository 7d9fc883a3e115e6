"""`netvps config-ssh`, and what `create`, `login` and `context use` do of it by themselves."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.cli.access.config_ssh import refresh
from netvps.cli.access.ssh_files import SshFiles
from netvps.cli.server import contexts
from netvps.domain.access.ssh_key import PublicKey
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient, session


def _means(home: Path, *words: str) -> dict[str, str]:
    argv = ["ssh", "-G", "-F", str(home / ".ssh/config"), *words]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in reversed(printed.splitlines()) if " " in line)


def test_an_account_without_keys_gets_all_of_it(run: Run, fake: FakeClient, home: Path) -> None:
    fake.sessions = {"dev1": session(), "web": session("web")}
    ran = run("config-ssh")
    assert ran.code == 0
    assert ran.err.splitlines()[-1] == (
        f"{home}/.ssh/config includes {home}/.ssh/netvps/config: ssh web.netvps, or ssh web@127.0.0.1 -p 2222"
    )
    means = _means(home, "dev1.netvps")
    assert (means["user"], means["hostname"], means["port"]) == ("dev1", "127.0.0.1", "2222")
    assert means["identityfile"] == f"{home}/.ssh/netvps_ed25519"
    printed = PublicKey.parse((home / ".ssh/netvps_ed25519.pub").read_text())
    assert [key.fingerprint for key in fake.keys] == [printed.fingerprint]
    algorithm, key, _ = INFO.ssh_host_key.split()
    assert (home / ".ssh/netvps/known_hosts").read_text() == f"netvps-local {algorithm} {key}\n"


@pytest.mark.usefixtures("fake")
def test_again_it_changes_nothing(run: Run, home: Path) -> None:
    run("config-ssh")
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
    assert run("config-ssh", "--quiet") == replace(run("config-ssh", "-q"), code=0, out="", err="")
    assert {file: file.read_bytes() for file in home.rglob("*") if file.is_file()} == before


def test_create_sets_up_and_says_so_once(run: Run, fake: FakeClient, home: Path) -> None:
    first, second = run("create", "dev1", "--no-wait"), run("create", "dev2", "--no-wait")
    assert f"{home}/.ssh/config includes {home}/.ssh/netvps/config now" in first.err
    assert "(netvps config-ssh --remove undoes it): ssh dev1.netvps, or ssh dev1@127.0.0.1 -p 2222" in first.err
    assert ".ssh" not in second.err
    assert _means(home, "dev2.netvps")["user"] == "dev2"
    assert len(fake.keys) == 1


def test_what_was_removed_stays_away(run: Run, fake: FakeClient, home: Path) -> None:
    run("create", "dev1", "--no-wait")
    ran = run("config-ssh", "--remove")
    assert ran.err == "removed ~/.ssh/netvps and its line in ~/.ssh/config\n"
    run("create", "dev2", "--no-wait")
    assert sorted(file.name for file in (home / ".ssh").iterdir()) == ["netvps_ed25519", "netvps_ed25519.pub"]
    assert run("config-ssh", "--remove").err == "there was nothing to remove\n"
    fake.sessions = {"dev2": session("dev2")}
    run("config-ssh")
    assert _means(home, "dev2.netvps")["user"] == "dev2"


def test_who_wants_none_gets_a_key_registered_and_no_file(run: Run, fake: FakeClient, home: Path) -> None:
    ran = run("create", "dev1", "--no-wait", "--no-config-ssh")
    assert ran.code == 0
    assert len(fake.keys) == 1
    assert not (home / ".ssh/config").exists()


def test_create_succeeds_where_this_fails(run: Run, fake: FakeClient, home: Path) -> None:
    (home / ".ssh/config").mkdir(parents=True)
    ran = run("create", "dev1", "--no-wait")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert "plain ssh is not set up: the configuration of ssh cannot be written" in ran.err
    assert "`netvps config-ssh` tries again" in ran.err
    fake.errors["server_info"] = Unavailable("later")
    assert run("create", "dev2", "--no-wait").code == 0


def test_a_machine_that_listens_elsewhere_is_dialled_there(run: Run, fake: FakeClient, home: Path) -> None:
    fake.sessions = {"dev1": session()}
    fake.info = replace(INFO, names=("vps.example", "10.0.0.5", "box1"))
    run("config-ssh")
    assert _means(home, "dev1.netvps")["hostname"] == "10.0.0.5"
    assert _means(home, "-p", "2222", "x@vps.example")["hostkeyalias"] == "netvps-local"
    fake.info = replace(INFO, names=("vps.example", "127.0.0.1", "10.0.0.5"))
    run("config-ssh")
    assert _means(home, "dev1.netvps")["hostname"] == "127.0.0.1"


def test_names_that_a_server_makes_up_change_nothing_else(run: Run, fake: FakeClient, home: Path) -> None:
    fake.info = replace(INFO, names=("*", 'x" exec "touch /tmp/x', "a,b", "ok.example", "x\nHost *"))
    run("config-ssh")
    (line,) = [line for line in (home / ".ssh/netvps/config").read_text().splitlines() if "originalhost 127" in line]
    assert line.startswith("Match originalhost 127.0.0.1,localhost,")
    assert line.endswith(',ok.example exec "test %p = 2222"')


def test_contexts_that_are_chosen_and_forgotten(run: Run, fake: FakeClient, home: Path) -> None:
    fake.sessions = {"dev1": session()}
    contexts.save(contexts.Context("lab", "gw.example:7443", "CA", "nv_a_b"))
    run("config-ssh")
    run("--context", "lab", "config-ssh")
    assert _means(home, "dev1.netvps")["hostname"] == "127.0.0.1"
    run("context", "use", "lab")
    assert _means(home, "dev1.netvps")["hostname"] == "gw.example"
    run("logout", "lab")
    assert _means(home, "dev1.netvps")["hostname"] == "127.0.0.1"
    assert list(SshFiles().known()) == ["local"]


def test_a_session_that_is_removed_is_forgotten(run: Run, fake: FakeClient) -> None:
    fake.sessions = {"dev1": session(), "web": session("web")}
    run("config-ssh")
    run("rm", "dev1", "--yes", "--no-wait")
    assert SshFiles().known()["local"].sessions == ("web",)


def test_a_server_that_moved_is_followed(run: Run, fake: FakeClient, home: Path) -> None:
    refresh(contexts.local())
    assert not (home / ".ssh").exists()
    fake.sessions = {"dev1": session()}
    run("config-ssh")
    fake.info = replace(INFO, ssh_address=":22")
    refresh(contexts.local())
    assert _means(home, "dev1.netvps")["port"] == "22"
    fake.errors["server_info"] = Unavailable("later")
    refresh(contexts.local())


@pytest.mark.usefixtures("fake")
def test_what_was_removed_is_not_set_up_by_a_script(run: Run, home: Path) -> None:
    run("config-ssh", "--unless-removed")
    assert (home / ".ssh/config").exists()
    run("config-ssh", "--remove")
    run("config-ssh", "--unless-removed")
    assert not (home / ".ssh/config").exists()


def test_create_keeps_the_key_as_long_as_the_server_knows_it(run: Run, fake: FakeClient, home: Path) -> None:
    run("create", "dev1", "--no-wait")
    (home / ".ssh/netvps_ed25519").rename(home / ".ssh/id_ed25519")
    (home / ".ssh/netvps_ed25519.pub").rename(home / ".ssh/id_ed25519.pub")
    run("create", "dev2", "--no-wait")
    assert _means(home, "dev2.netvps")["identityfile"] == f"{home}/.ssh/id_ed25519"
    before = len(fake.keys)
    run("create", "dev3", "--no-wait")
    assert len(fake.keys) == before
    fake.keys.clear()
    run("create", "dev4", "--no-wait")
    assert len(fake.keys) == 1


@pytest.mark.usefixtures("fake")
def test_the_list_of_sessions_is_bounded(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.cli.access.config_ssh.MOST_SESSIONS", 3)
    for name in ("a", "b", "c", "d"):
        run("create", name, "--no-wait")
    assert SshFiles().known()["local"].sessions == ("b", "c", "d")
    assert _means(home, "d.netvps")["user"] == "d"
