"""Asks a program on this machine whether it is ready: the health check of the container images.

    python -m netvps.process.http_check PORT

Standard library only, because it runs every few seconds.
"""

from __future__ import annotations

import http.client
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS: Final = 4.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what /readyz answers; 0 if it is ready, else 1."""
    (port,) = sys.argv[1:] if arguments is None else arguments
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", int(port), timeout=_SECONDS)) as connection:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            said = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer at port {port}: {error}")  # noqa: T201 — what Docker shows of the check
        return 1
    print(said)  # noqa: T201
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
