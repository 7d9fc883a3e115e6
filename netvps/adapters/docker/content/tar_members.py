"""Reads the members of a tar archive as GNU tar writes it in the POSIX format, and nothing else.

The archive may come from a stranger, and GNU tar extracts it later, so both have to read it alike: what GNU tar does
not write in this format is refused. That leaves one way to say a name, a size and a target.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import BinaryIO, Final

from netvps.adapters.docker.errors import ImageImportFailed

BLOCK: Final = 512
_MAX_EXTENDED: Final = 1 << 20
"""Maximum size in bytes of a member's extended attributes and long names; Linux allows 64 KiB per attribute."""
_XATTR: Final = "SCHILY.xattr."
_KEYS: Final = frozenset(
    {
        *("path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime"),
        *("SCHILY.acl.access", "SCHILY.acl.default"),
        *("GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"),
    }
)
_TYPES: Final = {
    b"0": stat.S_IFREG,
    b"1": 0,  # a hard link
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}


class BadArchive(ImageImportFailed):
    """The archive is damaged, or not one that netvps makes."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member. Names are as in the archive, "./a/b", with bytes that are not UTF-8 as surrogates."""

    name: str
    names: tuple[str, ...]
    """All names that the archive gives it: a reader may use any."""
    kind: int
    """As in st_mode; 0 for a hard link."""
    mode: int
    uid: int
    gid: int
    size: int
    """As seen in the file system, in bytes."""
    stored: int
    """Bytes in the archive."""
    offset: int
    """Where they begin."""
    mtime_ns: int
    target: str = ""
    """Of a link."""
    targets: tuple[str, ...] = ()
    """All targets that the archive gives."""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sparse: bool = False
    """Whether the stored bytes begin with a map of the holes (GNU.sparse 1.0)."""

    @property
    def path(self) -> str:
        """Path in the session, "/a/b"; "/" for the folder itself."""
        return "/" + self.name.removeprefix(".").strip("/")

    @property
    def deletes(self) -> bool:
        """Whether it is overlayfs's mark that the image's path is deleted."""
        return self.kind == stat.S_IFCHR and self.device == (0, 0)


def members(archive: BinaryIO, begin: int, end: int) -> Iterator[Member]:
    """Yields the members of the archive that fills a file from `begin` to `end`, as offsets.

    Raises BadArchive, also if something else than zeros follows it.
    """
    position = begin
    extended: dict[str, bytes] = {}
    while True:
        header = _block(archive, position, end)
        position += BLOCK
        if header == bytes(BLOCK):
            return _require_zeros(archive, position, end)
        _require_header(header)
        kind, size = header[156:157], _octal(header[124:136], "size")
        if kind == b"x":
            if extended or not 0 < size <= _MAX_EXTENDED:
                raise BadArchive("an extended header is doubled, empty or too large")
            extended = _records(_read(archive, position, size, end))
        else:
            member = _member(header, extended, position)
            extended = {}
            size = member.stored
            if position + size > end:
                raise BadArchive(f"{member.name!r} is cut off")
            yield member
        position += -(-size // BLOCK) * BLOCK


def outer_size(header: bytes, extended: bytes) -> tuple[str, int, bool]:
    """The name and size of the member with this header; true if it is the extended header of the next one.

    `extended` is the content of the one before. For archives of a few plain files. Raises BadArchive.
    """
    _require_header(header)
    size = _octal(header[124:136], "size")
    if header[156:157] == b"x" and not extended and 0 < size <= _MAX_EXTENDED:
        return "", size, True
    if header[156:157] != b"0":
        raise BadArchive("it holds something else than files")
    member = _member(header, _records(extended), 0)
    return member.name, member.stored, False


def _member(header: bytes, extended: dict[str, bytes], offset: int) -> Member:
    kind = _TYPES.get(header[156:157])
    if kind is None:
        raise BadArchive(f"it has a member of the unknown type {header[156:157]!r}")
    prefix, short = _text(header[345:500]), _text(header[:100])
    names = [f"{prefix}/{short}" if prefix else short]
    names += [os.fsdecode(extended[key]) for key in ("path", "GNU.sparse.name") if key in extended]
    targets = [target] if (target := _text(header[157:257])) else []
    targets += [os.fsdecode(extended["linkpath"])] if "linkpath" in extended else []
    stored = _number(extended, "size", _octal(header[124:136], "size"))
    if kind != stat.S_IFREG and stored:
        raise BadArchive(f"{names[-1]!r} has content, and is no file")
    sparse = [key for key in extended if key.startswith("GNU.sparse.")]
    if sparse and (kind != stat.S_IFREG or extended.get("GNU.sparse.major") != b"1"):
        raise BadArchive(f"{names[-1]!r} has holes in a form that is not known")
    xattrs = {key.removeprefix(_XATTR): value for key, value in extended.items() if key.startswith(_XATTR)}
    return Member(
        name=names[-1],
        names=tuple(names),
        kind=kind,
        mode=_octal(header[100:108], "mode") & 0o7777,
        uid=_number(extended, "uid", _octal(header[108:116], "uid")),
        gid=_number(extended, "gid", _octal(header[116:124], "gid")),
        size=_number(extended, "GNU.sparse.realsize", stored),
        stored=stored,
        offset=offset,
        mtime_ns=_time(extended.get("mtime"), _octal(header[136:148], "mtime")),
        target=targets[-1] if targets else "",
        targets=tuple(targets),
        device=(_octal(header[329:337], "device"), _octal(header[337:345], "device")),
        xattrs=xattrs,
        sparse=bool(sparse),
    )


def _records(data: bytes) -> dict[str, bytes]:
    """Parses records: a length, a key, a value, and a line feed. Each key is given once."""
    found: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 10)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise BadArchive("an extended header is malformed")
        end = position + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space or not equals or data[end - 1 : end] != b"\n":
            raise BadArchive("an extended header is malformed")
        name = os.fsdecode(key)
        if name in found or not (name in _KEYS or name.startswith(_XATTR)):
            raise BadArchive(f"an extended header has the key {name!r}, doubled or unknown")
        found[name] = value
        position = end
    return found


def _require_header(header: bytes) -> None:
    plain = header[:148] + b" " * 8 + header[156:]
    if header[257:265] != b"ustar\x0000":
        raise BadArchive("it is not a tar archive in the POSIX format")
    if sum(plain) != _octal(header[148:156], "checksum"):
        raise BadArchive("the checksum of a tar header is wrong")


def _octal(value: bytes, name: str) -> int:
    digits = value.rstrip(b"\0 ").lstrip(b" ")
    if not digits:
        return 0
    try:
        return int(digits, 8) if digits.isdigit() else _refuse(name, digits)
    except ValueError:
        return _refuse(name, digits)


def _number(extended: dict[str, bytes], key: str, otherwise: int) -> int:
    value = extended.get(key)
    if value is None:
        return otherwise
    return int(value) if value.isdigit() and len(value) <= 20 else _refuse(key, value)  # noqa: PLR2004 — 64 bits


def _time(value: bytes | None, otherwise: int) -> int:
    """In nanoseconds."""
    if value is None:
        return otherwise * 1_000_000_000
    try:
        return int(Decimal(value[:40].decode("ascii")) * 1_000_000_000)
    except (InvalidOperation, UnicodeDecodeError, OverflowError, ValueError):
        return _refuse("mtime", value)


def _refuse(name: str, value: bytes) -> int:
    raise BadArchive(f"the {name} of a member is {value[:40]!r}")


def _text(value: bytes) -> str:
    return os.fsdecode(value.partition(b"\0")[0])


def _block(archive: BinaryIO, position: int, end: int) -> bytes:
    return _read(archive, position, BLOCK, end)


def _read(archive: BinaryIO, position: int, size: int, end: int) -> bytes:
    if position + size > end:
        raise BadArchive("it is cut off")
    archive.seek(position)
    data = archive.read(size)
    if len(data) != size:
        raise BadArchive("it is cut off")
    return data


def _require_zeros(archive: BinaryIO, position: int, end: int) -> None:
    """GNU tar fills its last record of 10 KiB with zeros."""
    if not BLOCK <= end - position < 64 * BLOCK or any(_read(archive, position, end - position, end)):
        raise BadArchive("something else follows its end")
