"""Logging to stderr: console lines on a terminal, JSON otherwise. Includes the loggers of the standard library."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import structlog

from netvps.log_bounds import VolumeLimit, bound_event

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import TextIO

_SECRET = re.compile(
    r"\b(?P<kind>nvj?_[A-Za-z0-9]{4,}_)[A-Za-z0-9_\-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_QUIET = ("asyncssh", "aiohttp.access", "docker", "urllib3", "alembic", "sqlalchemy", "aiosqlite")


def redact(text: str) -> str:
    """Removes API keys, tokens and private keys from a text.

    A safety net: no secret should be logged in the first place.
    """
    return _SECRET.sub(lambda match: (match["kind"] or "private key ") + "[redacted]", text)


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that redacts everything that would be printed."""
    return {redact(key): _redacted(value) for key, value in event.items()}


def set_up(program: str, *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Configures structlog and the standard library for this process; `program` is bound to every line."""
    stream = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.INFO
    on_terminal = stream.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
    ]
    renderer = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    # Exceptions are rendered to text here and not by the renderer, so that they are truncated and redacted, too.
    last: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        bound_event,
        redact_event,
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


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case bytes():
            return redact(value.decode(errors="replace"))
        case dict():
            return {key: _redacted(item) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return redact(str(value))
