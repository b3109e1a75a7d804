"""The service: HTTP, store and supervisor; each running job has an engine process."""

import batchgrad_workers  # noqa: F401  # it chooses numpy's kernels, so it must come before numpy
