"""Reads secrets from files: one file, one secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_BYTES: Final = 64 << 10
"""No secret is longer; a file that is was named by mistake."""
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Variable with the folder in which systemd puts the files of LoadCredential= (systemd.exec(5))."""


def read_secret(file: Path, setting: str) -> str:
    """The content without the newline at its end. Raises ValueError that names the setting and the file."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{setting} {file} cannot be read: {why}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{setting} {file} is larger than {MAX_BYTES >> 10} KiB: name the file with the secret")
    if not text:
        raise ValueError(f"{setting} {file} is empty: write the secret into it")
    return text


def exposure(file: Path, setting: str) -> str | None:
    """A warning if every account of this machine can read the file; None otherwise."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return None
    if not mode & stat.S_IROTH:
        return None
    return f"{setting} {file} can be read by every account of this machine: chmod o-rwx {file}"


def credentials(secrets: Collection[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Files of credentials that systemd passes to this service, by the setting that names a file."""
    folder = environ.get(CREDENTIALS)
    if not folder:
        return {}
    return {f"{name}_file": str(file) for name in secrets if (file := Path(folder, name)).is_file()}
