"""The plan of a PyTorch job: what follows from its datasets, and what a preflight found out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from batchgrad.contract import JobSpec, Plan
from batchgrad_engine.preflight.messages import Request
from batchgrad_service.datasets.initial_parameters import StoredParameters
from batchgrad_service.preflights.preflights import Preflights
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.memory import machine_bytes
from batchgrad_service.validation.torch.plan import with_module
from batchgrad_service.validation.torch.rules import TorchRules

MEMORY_SHARE = 0.75
"""Of the machine's memory, for one preflight."""


class TorchPlanner:
    """Completes plans of PyTorch jobs."""

    def __init__(
        self, rules: TorchRules, preflights: Preflights, parameters: StoredParameters
    ) -> None:
        self._rules = rules
        self._preflights = preflights
        self._parameters = parameters

    async def complete(self, planned: Plan, spec: JobSpec, data: JobData) -> Plan:
        """The plan, with what its module adds.

        Raises:
            InvalidError: the task can't be built or trained, or needs too much memory.
        """
        content = None
        if spec.initial_parameters is not None:
            content = await run_in_threadpool(
                self._parameters.read, spec.initial_parameters, spec.model, data.dataset
            )
        with self._file(content) as initial:
            request = Request(
                spec=spec.model_copy(update={"initial_parameters": None}),
                dataset=data.directory,
                validation_dataset=data.validation.directory if data.validation else None,
                initial_parameters=initial,
                code=self._rules.source(data.code, spec.model.code),
                memory_bytes=int(MEMORY_SHARE * machine_bytes()),
            )
            found = await self._preflights.examine(request, data)
        return with_module(planned, spec, found)

    @contextmanager
    def _file(self, content: bytes | None) -> Iterator[Path | None]:
        """A file with these bytes during the block."""
        if content is None:
            yield None
            return
        with self._parameters.temporary(content) as path:
            yield path
