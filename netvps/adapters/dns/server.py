"""The DNS server of a runner, on the bridge's address: for sessions on the bridge and for the machine itself."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

import structlog

from netvps.adapters.dns.forwarder import Forwarder
from netvps.adapters.dns.listener import Listener
from netvps.adapters.dns.resolv_conf import ResolvConf
from netvps.adapters.dns.responder import Responder
from netvps.domain.overlay.dns import Directory, Names
from netvps.domain.overlay.settings import bridge_address
from netvps.domain.overlay.view import View

PORT: Final = 53
log = structlog.get_logger()


class DnsServer:
    """Implements runner.overlay.ports.Names. `forwarder` and `port` are for tests."""

    def __init__(self, forwarder: Forwarder | None = None, *, port: int = PORT) -> None:
        self._forwarder = forwarder or Forwarder(ResolvConf())
        self._port = port
        self._directory = Directory()
        self._responder: Responder | None = None
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 if closed."""
        return self._listener.port if self._listener else 0

    async def serve(self, view: View) -> None:
        """Answers by this view from now on; opens the sockets if needed, again if the address changed.

        Raises ConfigError if that is not permitted, Unavailable if the port is in use; call it again later.
        """
        address = bridge_address(view.lease.cidr)
        self._directory.follow(view.netmap)
        names = Names(self._directory, IPv4Network(view.overlay_settings.pool), address, view.netmap.generation)
        subnet = IPv4Network(view.lease.cidr)
        if self._listener and self._listener.address != address:
            await self.close()
        if self._responder is None:
            self._responder = Responder(self._forwarder, names, subnet, view.runner)
        self._responder.names, self._responder.subnet, self._responder.runner = names, subnet, view.runner
        if self._listener is None:
            listener = Listener(self._responder, address, self._port)
            await listener.open()
            self._listener = listener
            log.info("serving overlay names", address=address, port=listener.port)

    async def close(self) -> None:
        """Closes the sockets; idempotent."""
        listener, self._listener = self._listener, None
        if listener:
            await listener.close()
