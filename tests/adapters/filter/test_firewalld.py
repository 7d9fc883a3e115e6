"""A program in the place of firewall-cmd, that keeps zones and ports as firewalld does: no firewalld runs here."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters.filter.firewalld import Firewalld
from netvps.errors import Unavailable

# Answers and exit codes of firewall-cmd(1): a zone is a file with its name, of links and ports.
FAKE = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
zone=public
for option; do
  case $option in
    --zone=*) zone=${option#*=} ;;
    --get-active-zones) [ "$(cat state)" = running ] || { echo "FirewallD is not running" >&2; exit 252; }
      for one in public docker trusted; do
        [ -s $one ] || continue
        [ $one = public ] && echo "public (default)" || echo $one
        echo "  interfaces: $(grep -v / $one | tr '\\n' ' ')"
        echo "  sources: 192.0.2.0/24"
      done ;;
    --add-interface=* | --add-port=*) [ ! -e broken ] || { echo "Error: INVALID_ZONE" >&2; exit 112; }
      echo "${option#*=}" >>"$zone" ;;
    --remove-interface=* | --remove-port=*) sed -i "\\\\,^${option#*=}$,d" "$zone" ;;
    --query-port=*) grep -qx "${option#*=}" "$zone" && echo yes || { echo no; exit 1; } ;;
    *) exit 2 ;;
  esac
done
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "firewall-cmd").write_text(FAKE)
    (tmp_path / "firewall-cmd").chmod(0o755)
    for zone in ("public", "docker", "trusted"):
        (tmp_path / zone).write_text("")
    (tmp_path / "state").write_text("running\n")
    (tmp_path / "public").write_text("eth0\n")
    return tmp_path


def _zones(machine: Path) -> dict[str, list[str]]:
    return {zone: (machine / zone).read_text().split() for zone in ("public", "docker", "trusted")}


async def test_the_device_is_trusted_and_the_port_is_open_and_nothing_is_done_twice(machine: Path) -> None:
    accepts = Firewalld(program=str(machine / "firewall-cmd"))
    assert not await accepts.ensure(14789)
    assert _zones(machine) == {"public": ["eth0", "14789/udp"], "docker": [], "trusted": ["nv0"]}
    assert await accepts.ensure(14789)
    (machine / "trusted").write_text("")  # firewall-cmd --reload
    assert not await accepts.ensure(14789)
    assert _zones(machine)["trusted"] == ["nv0"]


async def test_a_device_that_was_put_into_a_zone_stays_there(machine: Path) -> None:
    (machine / "docker").write_text("nv0\n")
    accepts = Firewalld(program=str(machine / "firewall-cmd"))
    await accepts.ensure(14789)
    assert _zones(machine) == {"public": ["eth0", "14789/udp"], "docker": ["nv0"], "trusted": []}
    await accepts.remove(14789)
    assert _zones(machine) == {"public": ["eth0"], "docker": ["nv0"], "trusted": []}


async def test_nothing_is_left_of_it(machine: Path) -> None:
    accepts = Firewalld(program=str(machine / "firewall-cmd"))
    before = _zones(machine)
    await accepts.ensure(14789)
    for _ in range(2):
        await accepts.remove(14789)
        assert _zones(machine) == before


async def test_where_it_does_not_run_there_is_nothing_to_do(machine: Path) -> None:
    (machine / "state").write_text("not running\n")
    for program in (str(machine / "firewall-cmd"), "no-firewall-cmd"):
        accepts = Firewalld(program=program)
        assert await accepts.ensure(14789)
        await accepts.remove(14789)
    assert _zones(machine) == {"public": ["eth0"], "docker": [], "trusted": []}


async def test_a_refusal_is_an_error(machine: Path) -> None:
    (machine / "broken").touch()
    with pytest.raises(Unavailable, match="refused --zone=trusted --add-interface=nv0: Error: INVALID_ZONE"):
        await Firewalld(program=str(machine / "firewall-cmd")).ensure(14789)
