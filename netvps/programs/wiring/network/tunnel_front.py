"""Starts the process before the tunnel's port, where the agent's binary is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from netvps.errors import ConfigError
from netvps.gateway.ssh.listener import listen_at
from netvps.gateway.tunnel.front import Behind, Front
from netvps.process.agent_program import agent_program

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from netvps.gateway.tunnel.tunnels import Tunnels

log = structlog.get_logger()


async def start_front(stack: AsyncExitStack, host: str, port: int, behind: Behind, tunnels: Tunnels) -> Front | None:
    """A process that holds the port and is ready to serve; None if there is none, so that gRPC has to listen itself.

    Raises ConfigError if the port is not available.
    """
    try:
        program = agent_program()
    except ConfigError as error:
        log.warning("SSH by the tunnel is slower than it could be", error=error.message)
        return None
    listening = listen_at(host, port, "the server cannot listen for runners and agents on", "--link-port")
    front = Front(program, listening, behind, tunnels)
    await front.__aenter__()
    if not front.running:
        await front.__aexit__()
        return None
    stack.push_async_exit(front)
    return front
