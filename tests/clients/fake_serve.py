"""A replacement for `batchgrad serve` in tests: FLAVOUR, then the flags of a private service."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Ready(BaseHTTPRequestHandler):
    """Answers every request with 200."""

    def do_GET(self) -> None:
        if sys.argv[1] == "frail" and self.path != "/readyz":
            os.kill(os.getpid(), signal.SIGKILL)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


def main() -> None:
    flavour, flags = sys.argv[1], sys.argv[2:]
    directory = flags[flags.index("--data-dir") + 1]
    Path(directory, "environment.json").write_text(json.dumps(dict(os.environ)))
    Path(directory, "flags.json").write_text(json.dumps(flags))
    if flavour == "dies":
        sys.exit("the port is taken")
    if flavour == "mute":
        time.sleep(600)
    server = HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    sys.stdout.write(json.dumps({"url": url, "token_file": None}) + "\n")
    sys.stdout.write("noise " * 50_000 + "\n")  # more than a pipe holds
    sys.stdout.flush()
    sys.stdin.read()
    if flavour == "unstoppable":
        time.sleep(600)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
