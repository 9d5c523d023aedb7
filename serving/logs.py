"""The log of the service: lines for people, or with ``USEROPS_LOG=json`` one JSON object per line for machines.

::

    {"time": "2026-11-22T10:00:00.123456Z", "level": "ERROR", "logger": "bentoml.userops", "message": "...",
     "request_id": "...", "decision_id": "...", "error": "Traceback ..."}

``USEROPS_LOG_LEVEL`` (debug, info, warning or error; default info) is the least that is written. With JSON every answer
is a line too: its route, status and milliseconds, and no path, because paths hold user ids.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

from pydantic_core import to_json

from configs.errors import ConfigError
from serving.loglines import guard
from serving.watch import told

__all__ = ["JsonLines", "is_json", "set_up"]

_LEVELS = ("debug", "info", "warning", "error")
#: Loggers of the service and of what carries it, which come with handlers of their own.
_NAMED = ("bentoml", "circus", "uvicorn", "uvicorn.error", "userops")


class JsonLines(logging.Formatter):
    """One JSON object per record, with the ids of the request at hand."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; what cannot be written as JSON is written as text."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = {"time": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if (one := told()) is not None:
            ids = {"request_id": one.request_id, "decision_id": one.decision_id}
            line |= {name: value for name, value in ids.items() if value is not None}
        line |= getattr(record, "told", {})
        if record.exc_info or record.exc_text:
            line["error"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        return to_json(line, serialize_unknown=True).decode()


def is_json() -> bool:
    """Whether machines read the log: ``USEROPS_LOG``."""
    kind = os.environ.get("USEROPS_LOG") or "text"
    if kind not in ("text", "json"):
        raise ConfigError("USEROPS_LOG", got=kind, expected="text or json")
    return kind == "json"


def set_up() -> None:
    """Let this process log as the environment says; nothing changes where it says nothing."""
    level = os.environ.get("USEROPS_LOG_LEVEL", "").lower()
    guard()
    # Its lines hold paths, so user ids; and uvicorn makes them, to be thrown away, as long as anybody might take them.
    logging.getLogger("uvicorn.access").propagate = False
    if level and level not in _LEVELS:
        raise ConfigError("USEROPS_LOG_LEVEL", got=level, expected=", ".join(_LEVELS))
    if is_json():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        root = logging.getLogger()
        root.handlers[:] = [handler]
        for name in _NAMED:
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
        logging.getLogger("userops").setLevel(logging.INFO)
        logging.captureWarnings(True)
    if level:
        for name in ("bentoml", "userops"):
            logging.getLogger(name).setLevel(level.upper())
