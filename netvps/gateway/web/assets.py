"""The files of the page, in memory: ours, and xterm.js as its package has it (static/vendor.json)."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("static")
NONCE: Final = b"@NONCE@"
"""Stands in the first page for the nonce of its style elements."""
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file in the forms in which it is sent."""

    content: bytes
    compressed: bytes
    content_type: str
    tag: str
    """Its ETag."""


def load(folder: Path = FOLDER) -> dict[str, Asset]:
    """All files of the page by name."""
    return {path.name: _asset(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(content, gzip.compress(content, mtime=0), _TYPES[path.suffix], tag)
