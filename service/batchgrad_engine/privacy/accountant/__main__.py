"""The accountant process: reads one `Request` on stdin, writes one `Answer` on stdout.

It exits when stdin ends, since then the service no longer waits for the answer.
"""

import sys

from batchgrad_engine.privacy.accountant.answering import answer
from batchgrad_engine.privacy.accountant.messages import Request
from batchgrad_workers.system.one_answer import keep_stdout, read_request
from batchgrad_workers.system.processes import block_sigterm


def main() -> int:
    """Answer one request; return the exit code."""
    block_sigterm()
    with keep_stdout() as answers:
        request = Request.model_validate_json(read_request())
        answers.write(answer(request).model_dump_json().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
