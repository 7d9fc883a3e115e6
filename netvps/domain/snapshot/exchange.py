"""What the control plane asks a runner to do with files beside the session's assignment: for someone who waits."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.image.work import ImageAnswer, ImageWork
from netvps.domain.snapshot.diff import Diff, DiffOrder
from netvps.domain.snapshot.snapshot import SnapshotResult


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Sends a snapshot as a portable archive."""

    snapshot_uid: str
    snapshot_id: str
    """Its id, for the archive."""
    session: str
    """"NAME.OWNER", for the archive."""


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """Makes a snapshot from a portable archive."""

    snapshot_uid: str


@dataclass(frozen=True, slots=True)
class BrowsedSnapshot:
    """A snapshot that is shown."""

    uid: str
    id: str
    create_time: int
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True)
class BrowseOrder:
    """Shows the files of snapshots over SFTP: requests come as bytes, and answers go as bytes."""

    snapshots: tuple[BrowsedSnapshot, ...]


FilesWork = DiffOrder | ExportOrder | ImportOrder | BrowseOrder | ImageWork
FilesAnswer = bytes | Diff | SnapshotResult | ImageAnswer
"""What a runner sends: pieces of an archive or of SFTP, progress, or an outcome."""


@dataclass(frozen=True, slots=True)
class FilesRequest:
    """A request, to be answered on the stream with this id."""

    stream_id: str
    session_uid: str
    """'' for work on images."""
    work: FilesWork
