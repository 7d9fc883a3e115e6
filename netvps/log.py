"""Logging to stderr: console lines on a terminal, JSON otherwise, or as NETVPS_LOG_FORMAT says.

Includes the loggers of the standard library.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import structlog

from netvps.errors import ConfigError
from netvps.log_bounds import VolumeLimit, bound_event

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import TextIO

_SECRET = re.compile(
    r"\b(?P<kind>nvj?_[A-Za-z0-9]{4,}_)[A-Za-z0-9_\-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_QUIET = ("asyncssh", "aiohttp.access", "docker", "urllib3", "alembic", "sqlalchemy")

FORMAT_VARIABLE: Final = "NETVPS_LOG_FORMAT"
FORMATS: Final = ("auto", "console", "json")


def redact(text: str) -> str:
    """Removes API keys, tokens and private keys from a text.

    A safety net: no secret should be logged in the first place.
    """
    return _SECRET.sub(lambda match: (match["kind"] or "private key ") + "[redacted]", text)


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that redacts everything that would be printed."""
    return {redact(key): _redacted(value) for key, value in event.items()}


def set_up(program: str, *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Configures structlog and the standard library for this process; `program` is bound to every line.

    Raises ConfigError if NETVPS_LOG_FORMAT is no format.
    """
    stream = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.INFO
    console = _is_console(stream)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
    ]
    colors = console and stream.isatty() and not os.environ.get("NO_COLOR")
    renderer = structlog.dev.ConsoleRenderer(colors=colors) if console else structlog.processors.JSONRenderer()
    # Exceptions are rendered to text here and not by the renderer, so that they are truncated and redacted, too.
    # Redaction comes before truncation, which could leave a part of a secret that nothing recognises.
    last: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        redact_event,
        bound_event,
        renderer,
    ]
    structlog.configure(
        processors=[*shared, VolumeLimit(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(program=program)


def _is_console(stream: TextIO) -> bool:
    form = os.environ.get(FORMAT_VARIABLE) or FORMATS[0]
    if form not in FORMATS:
        raise ConfigError(f"{FORMAT_VARIABLE}: {form!r} is wrong: give {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    return stream.isatty() if form == "auto" else form == "console"


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case bytes():
            return redact(value.decode(errors="replace"))
        case dict():
            return {redact(str(key)): _redacted(item) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return redact(str(value))
