"""Programs of this package run servers of netvps, as those of tests.programs do."""

from tests.programs.conftest import arguments, server_flags, state  # noqa: F401 — fixtures
