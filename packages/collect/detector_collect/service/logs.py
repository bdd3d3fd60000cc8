"""Logs: one JSON object per line on standard error, with what happened and nothing about who it happened to.

Room: detector_collect.service. Changes the logging of this process.

An exception is logged by its types and by where they were raised, without its message: that of a database repeats the
row, that of a parser what it read. There is no address, header, query or hash of a student in any line.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
import traceback
from typing import Any, Final

import msgspec

FRAMES_MAX: Final = 20
"""Frames of one exception that are logged, the innermost: what matters is at the end."""

_ENCODER: Final = msgspec.json.Encoder()
_QUIET: Final = {
    "uvicorn.access": logging.CRITICAL,
    "uvicorn.error": logging.ERROR,
    "sqlalchemy": logging.CRITICAL,
    "alembic": logging.CRITICAL,
}
"""The least level of loggers whose lines would have addresses or statements, or come at the will of a client. Errors of
a database are raised, too."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON. `extra={"fields": {…}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _exception(record.exc_info[1])
        return _ENCODER.encode(line).decode()


def _event(record: logging.LogRecord) -> str:
    """The message; of other libraries only its fixed part, because arguments may be anything."""
    own = record.name.partition(".")[0] in _OWN
    return record.getMessage() if own else str(record.msg).partition("\n")[0]


_OWN: Final = frozenset({"detector", "detector_collect", "detector-collect"})


def _exception(error: BaseException) -> list[str]:
    """The types of an exception and its causes, each with its innermost frames, without any message."""
    found: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(found) < FRAMES_MAX:
        frames = traceback.extract_tb(seen.__traceback__)[-FRAMES_MAX:]
        places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        found.append(f"{type(seen).__name__} at {places}")
        seen = seen.__cause__ or seen.__context__
    return found


def install(level: int = logging.INFO) -> None:
    """Let every logger of this process write JSON to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)
