"""The refusal of private jobs where no accountant can find out their ε."""

from batchgrad.contract import JobSpec, Plan
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_service.problems import InvalidError


class NoAccountant:
    """Refuses private jobs."""

    async def complete(self, planned: Plan, spec: JobSpec) -> tuple[Plan, Accounted]:  # noqa: ARG002
        """Refuse the job.

        Raises:
            InvalidError: always.
        """
        raise InvalidError.field(
            "/privacy", "this service has no accountant, so it cannot tell a job's epsilon."
        )
