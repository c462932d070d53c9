"""The log's format: one JSON object a line, with the names that the models' lines have."""

import json
import logging
import time
from typing import Any


class JsonLines(logging.Formatter):
    """A formatter: `extra={"facts": {...}}` becomes fields of the line, and any other record the event "message"."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
        }
        line |= getattr(record, "facts", None) or {"event": "message", "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLines}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"uvicorn": {"level": "INFO"}, "triton_diffusion": {"level": "INFO"}},
}
"""The configuration for `logging.config.dictConfig`: everything goes to standard error."""
