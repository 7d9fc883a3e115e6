"""Both formats of apt's lists."""

from __future__ import annotations

from pathlib import Path

from netvps.adapters.apt_sources import AptSource, own_distribution

DEB822 = """\
# comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/x.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # main archive
deb-src http://mirror.example/debian bookworm main
deb http://third.example/apt sdk-bookworm main
nonsense
"""
MAIN = AptSource("http://mirror.example/debian", "bookworm", ("main", "contrib"))


def machine(root: Path, name: str, text: str) -> Path:
    path = root / "etc/apt" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (root / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return root


def test_deb822(tmp_path: Path) -> None:
    own = own_distribution(machine(tmp_path, "sources.list.d/debian.sources", DEB822))
    assert own.mirror == "http://mirror.example/debian"
    assert own.sources == (
        MAIN,
        AptSource("http://mirror.example/debian", "bookworm-updates", ("main", "contrib")),
        AptSource("http://mirror.example/security", "bookworm-security", ("main",)),
    )


def test_one_line_and_third_parties_left_out(tmp_path: Path) -> None:
    own = own_distribution(machine(tmp_path, "sources.list", ONE_LINE))
    assert own.sources == (MAIN,)
    assert str(own.sources[0]) == "deb http://mirror.example/debian bookworm main contrib"


def test_a_machine_without_apt(tmp_path: Path) -> None:
    own = own_distribution(tmp_path)
    assert (own.suite, own.mirror, own.sources) == ("", "", ())
