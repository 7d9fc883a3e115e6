"""The store on SQLAlchemy Core: resources as JSON with columns to query by, and the log of revisions."""

from netvps.adapters.store.opening import open_store
from netvps.adapters.store.store import SqlStore

__all__ = ["SqlStore", "open_store"]
