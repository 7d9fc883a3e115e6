"""A lab that modules of tests have one after the other, each as if it were new, since to make one takes its time.

What a module made by way of the server is removed after it; what it changed besides it has to change back. That is
judged, and a lab that is not as it was is thrown away, so that no module fails for what another left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netvps.rpc.client.client import Client
from tests.e2e.overlay.overlay_lab import Lab, wait
from tests.support.namespaces import Namespace


class StandingLab:
    """Three hosts with a runner each. `close` it in the end."""

    def __init__(self) -> None:
        self._lab: Lab | None = None

    @contextmanager
    def lent(self) -> Iterator[Lab]:
        """For the block. Raises AssertionError if it is left in a state that no other module can start from."""
        lab = self._lab or _made()
        self._lab = None
        try:
            before = _looks(lab)
            lab.forget_logs()  # tests read what was said while they ran
            yield lab
            _cleared(lab)
            assert _looks(lab) == before
        except BaseException:
            lab.__exit__()
            raise
        self._lab = lab

    def close(self) -> None:
        """Another one is made if it is lent again."""
        if self._lab:
            self._lab.__exit__()
            self._lab = None


def _made() -> Lab:
    lab = Lab(3).__enter__()
    try:
        for host in lab.hosts:
            host.start_process()
        wait(lambda: lab.online() == lab.count, "all runners are there")
        lab.settle()
    except BaseException:
        lab.__exit__()
        raise
    return lab


def _cleared(lab: Lab) -> None:
    """All are at work, and well; there is no session, and no user except the administrator."""
    for process in (lab.server, *(host.runner for host in lab.hosts)):
        assert process is not None
        assert process.poll() is None
    with lab.client() as client:
        for session in client.list_sessions("-"):
            client.delete_session(str(session.full_name))
        wait(lambda: not list(client.list_sessions("-")), "no session is left")
        for user in client.list_users():
            if user.name != "root":
                client.delete_user(user.name)
        for key in client.list_ssh_keys():
            client.delete_ssh_key(key.uid)
        wait(lambda: _well(client), "all links are well")
    lab.settle()
    for host in lab.hosts:
        assert host.docker("ps", "-aq") == ""


def _well(client: Client) -> bool:
    """Measuring a link that was not well has its runner know."""
    list(client.probe_links())
    return not any(view.runner.problems for view in client.list_runners())


def _looks(lab: Lab) -> list[object]:
    """What no runner looks after."""
    hosts = [
        (
            host.namespace.ip("-d", "link", "show", "eth0"),
            host.namespace.ip("-o", "address", "show", "eth0"),
            host.choice,
            host.environment.copy(),
        )
        for host in lab.hosts
    ]
    return [Namespace(f"{lab.prefix}-switch").run("nft", "list", "ruleset"), *hosts]
