"""Log to stderr, which is the job's engine.log, one JSON object per line.

The keys are those of the service's JSON log. It uses the standard library's loggers, since
importing structlog takes as long as a small job.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from batchgrad_engine.messages import Start


def configure(start: Start) -> None:
    """Configure logging; each line has the ids of the job, the attempt and the request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(start))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(capture=True)


class _Lines(logging.Formatter):
    def __init__(self, start: Start) -> None:
        super().__init__()
        self._ids = start.model_dump(include={"job_id", "attempt", "request_id"})

    def format(self, record: logging.LogRecord) -> str:
        """One line; the keys of `extra={"data": {…}}` are added to the object."""
        line: dict[str, Any] = {
            "event": record.getMessage(),
            **getattr(record, "data", {}),
            **self._ids,
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
