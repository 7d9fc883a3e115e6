"""What the systems stand on that faults are injected into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.kills.faulty import Faulty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Cluster

SQLITE, POSTGRESQL = DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Ground:
    """The same for all systems of a test run."""

    agents: Path
    """A folder of agents that have fault points."""
    image: str
    cluster: Cluster | None
    """None if no test that was selected needs it."""
    logs: Path
    """A folder for what is worth keeping of a system that failed."""

    def new_system(self, database: str) -> Faulty:
        """One that runs, on an empty database, and knows the key of its person."""
        url = ""
        if database == POSTGRESQL:
            assert self.cluster is not None
            url = self.cluster.create_database()
        system = Faulty(url, self.agents)
        try:
            system.up()
            system.answered(lambda client: client.create_ssh_key(system.key().with_suffix(".pub").read_text()))
        except BaseException:
            system.destroy()
            raise
        return system
