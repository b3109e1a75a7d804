"""A job as a data frame or a figure."""

from typing import Any

from batchgrad.contract import Job
from batchgrad.http.requests import id_of
from batchgrad.methods.following import FollowingMethods
from batchgrad.methods.history import HistoryMethods
from batchgrad.notebook.figures import job_figure
from batchgrad.notebook.frames import Columns, Library, check_library, columns, frame


class NotebookMethods(FollowingMethods, HistoryMethods):
    """What is made of a job's steps and evaluations."""

    async def frame(
        self, job: Job | str, *, max_points: int | None = None, library: Library | None = None
    ) -> Any:
        """The steps and evaluations of a job, or its id, as a data frame of pandas or polars.

        Its columns have flat names such as `loss`, `gap_averaged_error` and `validation_loss`.
        `max_points` limits the steps: evenly spaced ones. Without `library`, the one that is loaded
        or installed is taken. Raises Unavailable if it is not installed.
        """
        chosen = check_library(library)
        return frame(await self._columns(id_of(job), max_points), chosen)

    async def plot(self, job: Job | str, *, max_points: int | None = 1000) -> Any:
        """Losses, gaps and validation accuracy of a job, or its id, as a figure of matplotlib.

        Raises Unavailable if matplotlib is not installed.
        """
        job = await self.job(id_of(job))
        data = await self._columns(job.id, max_points)
        return job_figure(f"{job.name} {job.id}: {job.status}", data)

    async def _columns(self, job_id: str, max_points: int | None) -> Columns:
        steps = [row async for row in self.steps(job_id, max_points=max_points)]
        return columns(steps, [event async for event in self.events(job_id)])
