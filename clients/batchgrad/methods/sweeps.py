"""Train a spec with many values of its keys: one job for each."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from batchgrad.contract import Job, JobSpec
from batchgrad.errors import InvalidRequest
from batchgrad.http.following import OnDisconnect, ignore, watch_jobs
from batchgrad.http.requests import spec_body
from batchgrad.methods.jobs import JobMethods
from batchgrad.parsing import arguments, sweeps


class SweepMethods(JobMethods):
    """Sweeps, and watching several jobs."""

    async def sweep(
        self,
        spec: JobSpec | Mapping[str, Any],
        over: Mapping[str, Sequence[Any] | str],
        *,
        samples: int | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> list[Job]:
        """Create a job for each combination of the values in `over`, and return them in order.

        `over` has a list of values for each key, such as {"optimizer.learning_rate": [0.01, 0.1]}.
        With `samples`, so many different combinations are drawn by `seed`, and a range is allowed
        instead of a list: "0.001..0.1", or "log:0.001..0.1" for uniform logarithms. Every job has
        the label sweep=`name`; by default the spec's name with random digits behind it. If the
        service refuses one of the specs, no job is created.
        """
        chosen = sweeps.choices(over, samples, seed)
        body = spec_body(spec)
        if name is None:
            name = f"{str(body.get('name', 'job'))[:120]}-{uuid.uuid4().hex[:6]}"
        specs = sweeps.expand(body, chosen, arguments.text("name", name))
        for one, values in zip(specs, chosen, strict=True):
            try:
                await self.plan(one)
            except InvalidRequest as error:
                why = "the spec is not valid." if error.errors else error.problem.detail
                detail = f"With {sweeps.described(values)}: {why}"
                problem = error.problem.model_copy(update={"detail": detail})
                raise InvalidRequest(problem, status=error.status, request=error.request) from error
        return [await self.submit(one) for one in specs]

    def watch_all(
        self,
        job_ids: Sequence[str],
        *,
        timeout: float | None = None,
        poll_interval: float = 0.5,
        on_disconnect: OnDisconnect = ignore,
    ) -> AsyncIterator[list[Job]]:
        """All these jobs each time that one has changed, until all have ended.

        Arguments and errors are those of `watch`.
        """
        return watch_jobs(
            self.job,
            arguments.texts("job_ids", job_ids),
            timeout=arguments.timeout("timeout", timeout),
            poll_interval=arguments.seconds("poll_interval", poll_interval),
            reconnect=self._service.reconnect(on_disconnect),
            sleep=self._session.sleep,
        )
