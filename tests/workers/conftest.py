from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in a worker: one microbatch is one single-threaded computation."""
    with threadpool_limits(limits=1):
        yield
