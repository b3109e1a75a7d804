"""Read a job's history: its steps, checkpoints and examples."""

from collections.abc import AsyncIterator

from batchgrad import timeouts
from batchgrad.contract import (
    Checkpoint,
    InfluenceOrder,
    JobRow,
    Ledger,
    LedgerOrder,
    Page,
    RowSet,
    StepExamples,
    StepRow,
)
from batchgrad.http.pages import ledger, pages
from batchgrad.http.requests import job_path
from batchgrad.http.responses import decode
from batchgrad.http.session import Params
from batchgrad.methods.base import BaseMethods
from batchgrad.parsing import arguments

ROWS_PAGE = 50_000
"""Rows of a set that the service sends at once: large datasets are split again for each page."""


class HistoryMethods(BaseMethods):
    """Steps, checkpoints, the example ledger, replays."""

    def steps(
        self, job_id: str, *, after: int = 0, max_points: int | None = None
    ) -> AsyncIterator[StepRow]:
        """The rows of the steps after step `after`, in order.

        `max_points` limits their number: evenly spaced rows, with the first and the last.
        """
        params: Params = {
            "after": arguments.whole("after", after) or None,
            "max_points": arguments.optional(arguments.whole, "max_points", max_points),
        }
        return pages(self._session, Page[StepRow], f"{job_path(job_id)}/steps", params)

    async def last_step(self, job_id: str) -> StepRow | None:
        """The newest step row; None before the first step."""
        rows = [row async for row in self.steps(job_id, max_points=2)]
        return rows[-1] if rows else None

    async def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """States that the job can go on from, newest first."""
        path = f"{job_path(job_id)}/checkpoints"
        return [one async for one in pages(self._session, Page[Checkpoint], path, {})]

    async def examples(
        self,
        job_id: str,
        *,
        order: LedgerOrder = "mean_norm",
        limit: int | None = 20,
        predictions: bool = False,
    ) -> Ledger:
        """The example ledger of a job: the first `limit` examples by `order`, or all for None.

        With `predictions` each has that of the parameters that the job keeps.
        """
        if limit is not None:
            limit = arguments.whole("limit", limit, least=1)
        params: Params = {"order": arguments.text("order", order)}
        if arguments.truth("predictions", predictions):
            params = {**params, "predictions": "true"}
        return await ledger(self._session, f"{job_path(job_id)}/examples", params, limit)

    def rows(
        self,
        job_id: str,
        *,
        set: RowSet = "validation",  # noqa: A002 (what the contract calls it too)
    ) -> AsyncIterator[JobRow]:
        """The rows of the job's dataset that are in a `set`: training, validation or test.

        The validation rows of a job that validates on another dataset are that dataset's.
        """
        params: Params = {"set": arguments.text("set", set), "limit": ROWS_PAGE}
        return pages(self._session, Page[JobRow], f"{job_path(job_id)}/rows", params)

    async def step_examples(
        self,
        job_id: str,
        step: int,
        *,
        order: InfluenceOrder = "share",
        limit: int = 20,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> StepExamples:
        """The influence of each example on a step, which the service replays."""
        path = f"{job_path(job_id)}/steps/{arguments.whole('step', step, least=1)}/examples"
        params: Params = {
            "order": arguments.text("order", order),
            "limit": arguments.whole("limit", limit, least=1),
        }
        return decode(
            StepExamples,
            await self._session.send(
                "GET", path, params=params, timeout=arguments.timeout("timeout", timeout)
            ),
        )
