"""Packs a folder as the context of a build, by Docker's rules for .dockerignore."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO, Final

import docker.utils.build

from netvps.errors import InvalidInput

MAX_CONTEXT: Final = 2 << 30
"""Bytes that a runner accepts."""
IGNORE_FILE: Final = ".dockerignore"
_COMMENT: Final = "#"
_MAX_NAMED: Final = 3


def pack_context(folder: Path, dockerfile: str) -> IO[bytes]:
    """Packs a folder without what its .dockerignore leaves out, into a file that has no name. Blocks.

    Raises InvalidInput if there is no Dockerfile, or if the files have more than MAX_CONTEXT bytes.
    """
    if not folder.is_dir():
        raise InvalidInput.of("DIR", f"{folder} is not a folder")
    named = Path(os.path.normpath(folder / dockerfile))
    if not named.is_relative_to(os.path.normpath(folder)) or not named.is_file():
        raise InvalidInput.of("--file", f"there is no {dockerfile} in {folder}: give its path from there with --file")
    try:
        files = sorted(docker.utils.build.exclude_paths(str(folder), _patterns(folder), dockerfile))
        sizes = {name: _size(folder / name) for name in files}
        if (total := sum(sizes.values())) > MAX_CONTEXT:
            biggest = sorted(sizes, key=lambda name: -sizes[name])[:_MAX_NAMED]
            raise InvalidInput.of(
                "DIR",
                f"the files in {folder} have {total >> 20} MiB, more than {MAX_CONTEXT >> 20}: leave out what the build"
                f" does not need, in a file .dockerignore; the biggest are {', '.join(biggest)}",
            )
        output = tempfile.TemporaryFile()  # noqa: SIM115 — the caller reads and closes it
        docker.utils.build.create_archive(str(folder), files, fileobj=output)
    except OSError as error:
        raise InvalidInput.of("DIR", f"cannot read {folder}: {error.strerror or error}") from None
    return output


def _patterns(folder: Path) -> list[str]:
    try:
        text = (folder / IGNORE_FILE).read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(_COMMENT)]


def _size(path: Path) -> int:
    status = path.lstat()
    return status.st_size if path.is_file() and not path.is_symlink() else 0
