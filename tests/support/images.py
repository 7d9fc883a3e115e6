"""Images for tests, made without a registry: busybox alone, and a Debian root from the machine's package source."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

BUSYBOX = Path("/bin/busybox")


def busybox_archive() -> bytes:
    """A root file system, as tar: one static program under its many names, and the files that name root."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("bin", "etc", "root", "tmp"):
            _add(archive, folder, mode=0o1777 if folder == "tmp" else 0o755, kind=tarfile.DIRTYPE)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n")
        _add(archive, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        _add(archive, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":
                _add(archive, f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox")
    return buffer.getvalue()


def archive_with(files: Iterable[tuple[Path, str]], empty: Iterable[str] = ()) -> bytes:
    """That of busybox with files and folders of this machine, the libraries of programs among them, and empty files."""
    wanted = {to: file for file, to in files}
    for file in list(wanted.values()):
        wanted |= {str(library): library for library in libraries(file)}
    buffer = io.BytesIO(busybox_archive())
    with tarfile.open(fileobj=buffer, mode="a", dereference=True) as archive:
        for to, file in sorted(wanted.items()):
            archive.add(file, to.removeprefix("/"))
        for name in empty:
            _add(archive, name)
    return buffer.getvalue()


def libraries(program: Path) -> list[Path]:
    """Those that the dynamic linker loads for it; none if it is no such program."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, timeout=20)
    return [Path(word) for word in listed.stdout.split() if word.startswith("/")] if listed.returncode == 0 else []


def import_image(archive: bytes, reference: str, docker_host: str | None = None, changes: tuple[str, ...] = ()) -> None:
    """Makes an image of a root file system; `changes` are lines of a Dockerfile."""
    flags = [word for line in ('CMD ["/bin/sh"]', *changes) for word in ("--change", line)]
    environment = os.environ | ({"DOCKER_HOST": docker_host} if docker_host else {})
    subprocess.run(
        ["docker", "import", *flags, "-", reference],
        input=archive,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


def _add(
    archive: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    mode: int = 0o644,
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname, entry.size = mode, kind, target, len(content)
    archive.addfile(entry, io.BytesIO(content))
