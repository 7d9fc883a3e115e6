"""`cli`: whole commands, from the start of the process to its end.

Each is compared with the start of a bare Python. `netvps ssh` is replaced by the system's ssh once it knows the route,
so it is compared with a bare Python followed by that ssh through the same gateway: the difference is what netvps adds.
"One call" is a Python that makes one gRPC call and exits: half of the difference, which netvps cannot reduce.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Final

from bench.image import image_with_sshd
from bench.place import NETVPS, Place, run
from bench.result import Goal, Measure, Row
from bench.subjects import Container, Session
from bench.turns import in_turn, milliseconds

_CALL: Final = """
import os, sys, grpc
from netvps.api.v1.server_pb2 import GetServerInfoRequest
from netvps.api.v1.server_pb2_grpc import ServerServiceStub
ServerServiceStub(grpc.insecure_channel(sys.argv[1])).GetServerInfo(GetServerInfoRequest())
os._exit(0)
"""
_OVER_PYTHON: Final = Goal(Measure.DIFFERENCE, 150)


def measure(rounds: int) -> list[Row]:
    """Measures each command against a bare Python, a Python with one call, and Docker's equivalent."""
    with Place() as place, image_with_sshd(place) as image:
        place.up()
        session, container = Session(place, image), Container(place, image)
        try:
            session.make()
            container.make()

            def timed(*command: str) -> float:
                return milliseconds(partial(run, *command, env=place.env))

            python = {
                "python -c pass": lambda: timed(sys.executable, "-c", "pass"),
                "python, one call": lambda: timed(sys.executable, "-c", _CALL, place.socket),
            }
            ls = {"netvps ls": lambda: timed(NETVPS, "ls"), **python, "docker ps": lambda: timed("docker", "ps")}

            def plain() -> float:
                return milliseconds(partial(session.ssh, "true"))

            ssh = {
                "netvps ssh NAME true": lambda: timed(NETVPS, "ssh", "-i", str(place.key), session.name, "--", "true"),
                "python -c pass, ssh": lambda: python["python -c pass"]() + plain(),
                "ssh, through the gateway": plain,
                "ssh, straight": lambda: milliseconds(partial(container.ssh, "true")),
            }
            return [
                Row("netvps ls", "ms", in_turn(rounds, ls), _OVER_PYTHON),
                Row("netvps ssh NAME true", "ms", in_turn(rounds, ssh), _OVER_PYTHON),
            ]
        finally:
            session.remove()
            container.remove()
