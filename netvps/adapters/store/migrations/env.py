"""Runs migrations on the connection, and in the transaction, of netvps.adapters.store.migrate."""  # noqa: INP001 — alembic loads it by its path

from alembic import context

from netvps.adapters.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
