"""A service's dataset route, on loopback, that can misbehave on purpose."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET = "the job's own"  # noqa: S105 - opens nothing but this test


@dataclass
class FileServer:
    """Serves the files of `directory`; `requests` are the paths and ranges of each request.

    `break_after` bytes it drops the connection, as often as `breaks` says; `status` is answered
    instead of a file. It waits `seconds` before each answer.
    """

    directory: Path
    requests: list[tuple[str, str]] = field(default_factory=list)
    breaks: int = 0
    break_after: int = 0
    status: int = 0
    location: str = ""
    seconds: float = 0.0
    url: str = ""


@contextmanager
def serving(directory: Path) -> Iterator[FileServer]:
    """Inside the block the server answers at `url`."""
    files = FileServer(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            byte_range = self.headers.get("Range", "")
            files.requests.append((self.path, byte_range))
            time.sleep(files.seconds)
            if self.headers.get("Authorization") != f"Bearer {SECRET}" or files.status:
                self.send_response(files.status or 403)
                self.send_header("Location", files.location)
                self.end_headers()
                return
            content = (files.directory / self.path.rpartition("/")[2]).read_bytes()
            content = content[int(byte_range.removeprefix("bytes=").partition("-")[0]) :]
            self.send_response(206 if content else 416)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if files.breaks:
                files.breaks -= 1
                content = content[: files.break_after]
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        files.url = f"http://127.0.0.1:{server.server_port}/v1/jobs/j/dataset"
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()
