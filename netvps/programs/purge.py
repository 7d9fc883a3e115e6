"""`netvps network purge`: removes the whole overlay from this machine; nothing else does.

Runners leave it in place when they end, so that sessions stay connected; a running runner would make it again.
"""

from __future__ import annotations

import sys
from socket import if_nameindex
from typing import TYPE_CHECKING, Any, Final

from netvps.adapters.bpf.fast_path import FastPath
from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import EngineUnusable
from netvps.adapters.docker.network.overlay_network import OverlayNetwork
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.host import HostFilter
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.adapters.netlink.privilege import unprivileged
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, KernelState, ObjectNames
from netvps.domain.runner.docker_names import ISOLATED_BRIDGES
from netvps.errors import NetvpsError, NotPermitted, Unavailable, WrongState
from netvps.process.process import guarded, run_to_end
from netvps.programs.wiring.remembered import load_remembered
from netvps.settings import RunnerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME: Final = "network purge"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.purge, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def _main(given: Mapping[str, Any]) -> int:
    settings = load_remembered(RunnerSettings, {"docker_host": given["docker_host"]}, given["config"])
    run_to_end(_purge(settings.docker_host, force=given["force"]))
    return 0


async def _purge(docker_host: str | None, *, force: bool) -> None:
    docker = Docker(docker_host)
    try:
        async with NetlinkKernel() as kernel:
            removed = await purge(kernel, OverlayNetwork(docker), OBJECT_NAMES, force=force)
    finally:
        docker.close()
    print(f"the overlay was removed from this machine ({removed} kernel objects)", file=sys.stderr)  # noqa: T201


async def purge(kernel: NetlinkKernel, network: OverlayNetwork, names: ObjectNames, *, force: bool) -> int:
    """Removes the whole overlay; returns the number of kernel operations.

    `force` also removes it if containers are attached to it, or the engine does not answer; otherwise these raise
    WrongState or the engine's error. Raises WrongState if a runner runs, NotPermitted, and Unavailable with the objects
    that could not be removed.
    """
    if why := unprivileged():
        raise NotPermitted(why)
    if not kernel.hold():
        raise WrongState("a runner on this machine uses the overlay: stop it first")
    await _leave(network, names, force=force, bridged=(await kernel.dump()).bridge is not None)
    fast_path = FastPath(names)
    filter_ = OverlayFilter(Nftables(), Iptables(names), Firewalld(names), network.ports, names, fast_path=fast_path)
    await filter_.remove()
    operations = diff(KernelState(), await kernel.dump(), names)
    if failures := await kernel.apply(operations):
        raise Unavailable("; ".join(failure.why for failure in failures))
    # Runners load this table with the overlay, but sessions without the overlay still need it.
    if not any(name.startswith(ISOLATED_BRIDGES) for _, name in if_nameindex()):
        await HostFilter(Nftables()).remove()
    return len(operations)


async def _leave(network: OverlayNetwork, names: ObjectNames, *, force: bool, bridged: bool) -> None:
    """Removes the engine's network. Without a bridge nothing is attached to it, and the engine need not answer."""
    try:
        ports = await network.ports()
        if force or not ports:
            await network.remove(force=force)
            return
    except NetvpsError as error:
        if not force and bridged:
            raise
        if isinstance(error, EngineUnusable) and not bridged:
            return
        print(f"Docker's network {names.network} may remain: {error.message}", file=sys.stderr)  # noqa: T201
        return
    raise WrongState(
        f"{len(ports)} containers run on network {names.network} ({', '.join(sorted(ports)[:8])}): stop their sessions,"
        " or use --force, which leaves them without a network"
    )


if __name__ == "__main__":
    sys.exit(main())
