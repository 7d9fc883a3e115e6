"""A base for the images of netvps, and packages for them, made of this machine's own files."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Final

from tests.support.images import archive_with, libraries

RUNNER_PROGRAMS: Final = ("nft", "iptables")
_LEFT_OUT: Final = ("site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "lib2to3")
_WHEELS: Final = Path("/usr/share/python-wheels")
"""Where Debian has the pip of its venv module."""


def python_archive(*names: str) -> bytes:
    """A root file system, as tar: busybox, this machine's Python, and those of its programs."""
    python, library = Path(os.path.realpath(sys._base_executable)), Path(os.__file__).parent  # type: ignore[attr-defined]
    extensions = [file for folder in (library / "lib-dynload", _site()) for file in folder.rglob("*.so*")]
    wanted = {found for file in extensions for found in libraries(file) if not found.is_relative_to(_site())}
    programs = [Path(found) for name in names if (found := shutil.which(name, path="/usr/sbin:/sbin:/usr/bin"))]
    files = [(python, str(python)), *((file, str(file)) for file in [*programs, *wanted])]
    buffer = io.BytesIO(archive_with(files))
    with tarfile.open(fileobj=buffer, mode="a", dereference=True) as archive:
        archive.add(library, str(library).removeprefix("/"), filter=_needed)
        if _WHEELS.exists():
            archive.add(_WHEELS, str(_WHEELS).removeprefix("/"))
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(python)
        archive.addfile(link)
    return buffer.getvalue()


def wheels(folder: Path, lock: Path) -> Path:
    """Makes wheels of the locked packages that this Python has; returns a list of them for pip, without hashes."""
    folder.mkdir()
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line and "win32" not in line]
    listed = folder.parent / "packages"
    found = [_wheel(metadata.distribution(line.partition("==")[0]), folder) for line in lines]
    listed.write_text("".join(f"{one}\n" for one in found))
    return listed


def _site() -> Path:
    return Path(next(path for path in sys.path if path.endswith("site-packages")))


def _needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    left_out = Path(member.name).name in _LEFT_OUT or "config-3" in member.name or ".opt-" in member.name
    return None if left_out else member


def _wheel(package: metadata.Distribution, folder: Path) -> str:
    """Packs an installed package as a wheel again; returns its requirement."""
    about = package.read_text("WHEEL") or ""
    tags = [line.partition(": ")[2] for line in about.splitlines() if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*(tag.split("-") for tag in tags), strict=True))
    name = package.metadata["Name"].replace("-", "_").replace(".", "_")
    with zipfile.ZipFile(folder / f"{name}-{package.version}-{tag}.whl", "w") as archive:
        for file in package.files or ():
            if ".." not in file.parts and file.suffix != ".pyc" and file.name not in {"INSTALLER", "REQUESTED"}:
                archive.write(str(file.locate()), str(file))
    return f"{package.metadata['Name']}=={package.version}"
