"""The actions that a plan can ask for (domain.session.plan), each with what it acts on."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.session.attachment import Attachment
from netvps.domain.session.container import Container, SavedImage, SourceImage
from netvps.domain.session.kept import SavedFiles
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import SessionState, SnapshotImage
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.domain.snapshot.steps import Clone, Drop, Revert


@dataclass(frozen=True, slots=True)
class Fetch:
    """Pull the image."""

    reference: str


@dataclass(frozen=True, slots=True)
class Create:
    """Make the container from this image."""

    source: SourceImage


@dataclass(frozen=True, slots=True)
class Restore:
    """Make the container again, with all files of the runner's copy."""

    files: SavedFiles
    replaced: Container | None = None
    """An existing container with the same files, made with other parameters, for example with an older agent."""


@dataclass(frozen=True, slots=True)
class Move:
    """Attach the container to another network or address. A running one stays up and loses its old address."""

    container: Container
    to: Attachment


@dataclass(frozen=True, slots=True)
class Start:
    """Start the container, whether new, stopped or exited."""

    container: Container


@dataclass(frozen=True, slots=True)
class Pause:
    """Freeze the container."""

    container: Container


@dataclass(frozen=True, slots=True)
class Unpause:
    """Let the frozen container go on: it was resumed, is to be stopped, or an interrupted commit left it paused."""

    container: Container


@dataclass(frozen=True, slots=True)
class Resize:
    """Give the container other limits, without a restart; 0 leaves a limit unchanged."""

    container: Container
    to: Limits


@dataclass(frozen=True, slots=True)
class Ended:
    """Report that the container ended by itself and stays stopped, and wait for an assignment that says so."""

    message: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Stop the container: SIGTERM, then SIGKILL after the grace period."""

    container: Container


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the stopped container's writable layer to the runner's folder, then the image below it."""

    container: Container


@dataclass(frozen=True, slots=True)
class Commit:
    """Take a snapshot of the stopped container; as a single layer if `flatten`."""

    container: Container
    flatten: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Report the snapshot of the stopped session, and wait for an assignment that contains it."""

    snapshot: SnapshotImage
    run: str = ""
    """The run of the container that it captures."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a container that cannot be started any more. `saved` holds all of its content."""

    container: Container
    saved: SavedImage


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove the images of older snapshots."""

    images: tuple[SavedImage, ...]


@dataclass(frozen=True, slots=True)
class Flatten:
    """Rewrite the recorded snapshot of the stopped session as one layer. Interrupted when the desired state changes."""

    saved: SavedImage


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do: the state is as desired."""

    state: SessionState
    address: str = ""
    container: Container | None = None
    """Set if it is alive."""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Take:
    """Take this snapshot, of the copy if there is no container, while the session is as `meanwhile` says.

    `meanwhile` None: the copy of the container's last run becomes it, which takes no time, and nothing of the engine.
    """

    uid: str
    container: Container | None
    meanwhile: Rest | None
    source: SnapshotSource | None = None
    """The snapshot that the session is to be made from, as long as it has no other files."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Docker is busy with the container: inspect it again soon."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The desired state cannot be reached, and nothing was changed; the message is for the owner."""

    reason: str
    message: str
    retryable: bool = False
    """What is missing may come from another machine."""
    lost: str = ""
    """Uid of the snapshot that should be here, and is not."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make the snapshot of the session's last run its copy: container and copy are gone."""

    uid: str
    run: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove everything of the session, because its owner deleted it."""


Step = (
    Fetch | Create | Restore | Move | Start | Pause | Unpause | Resize | Ended
    | Terminate | Copy | Commit | Record | Remove | Prune | Flatten
    | Rest | Wait | Refuse | Erase | Adopt
    | Take | Drop | Revert | Clone
)  # fmt: skip
