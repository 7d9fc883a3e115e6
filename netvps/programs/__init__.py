"""Composition roots, one per program: the only places that wire things.

The start of a program is mostly imports. This runs before all of them, and makes them cheaper.
"""

import gc
import sys

gc.set_threshold(100_000)  # imports make many objects and no garbage; process.run_to_end sets it back

if not {"rich", "structlog"} & sys.modules.keys():
    # Where rich is installed, structlog imports it for tracebacks, which no program logs in that form.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
