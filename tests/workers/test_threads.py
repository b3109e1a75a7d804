"""`ThreadPool` runs every item once and raises the first error."""

import threading
import time

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from batchgrad_workers.runtime.threads import ThreadPool, single_threaded_blas


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "microbatch" in thread.name]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("items", [range(0), range(3, 4), range(5, 205)])
def test_every_item_once(threads: int, items: range) -> None:
    done: list[int] = []

    with ThreadPool(threads) as pool:
        pool.run(items, done.append)
        pool.run(items, done.append)

    assert sorted(done) == sorted([*items, *items])
    assert running() == []


def test_the_caller_and_its_helpers_work_side_by_side() -> None:
    together = threading.Barrier(3, timeout=30)
    names: set[str] = set()

    def work(_: int) -> None:
        names.add(threading.current_thread().name)
        together.wait()

    with ThreadPool(3) as pool:
        pool.run(range(3), work)

    assert len(names) == 3
    assert threading.current_thread().name in names


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_reaches_the_caller_and_the_pool_stays_usable(threads: int) -> None:
    def fail(item: int) -> None:
        raise ZeroDivisionError(item)

    done: list[int] = []
    with ThreadPool(threads) as pool:
        with pytest.raises(ZeroDivisionError):
            pool.run(range(50), fail)
        pool.run(range(5), done.append)

    assert sorted(done) == [0, 1, 2, 3, 4]


def test_after_an_error_no_thread_is_still_at_work() -> None:
    """A caller that goes on, say to another step, must not share its arrays with stragglers."""
    together = threading.Barrier(3, timeout=30)
    finished: list[int] = []

    def work(item: int) -> None:
        together.wait()
        if not threading.current_thread().name.endswith("_1"):
            raise ZeroDivisionError(item)
        time.sleep(0.2)
        finished.append(item)

    with ThreadPool(3) as pool:
        with pytest.raises(ZeroDivisionError):
            pool.run(range(3), work)
        assert len(finished) == 1


def test_blas_is_limited_to_one_thread() -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(limits=2, user_api="blas"):
        assert threads() == {2}
        single_threaded_blas()
        assert threads() == {1}
