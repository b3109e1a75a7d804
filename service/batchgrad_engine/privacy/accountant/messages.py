"""Messages between the service and an accountant process."""

from pydantic import Field

from batchgrad.contract import FieldError, Privacy
from batchgrad_engine.messages import Message
from batchgrad_engine.privacy.accounted import Accounted


class Request(Message):
    """Account for `steps` steps with Poisson sampling at the rate batch_size / training_rows.

    Steps are the optimizer's, each of which adds noise once, however many microbatches it has.
    """

    privacy: Privacy
    batch_size: int = Field(ge=1, description="N")
    training_rows: int = Field(ge=1, description="n")
    steps: int = Field(ge=1, description="as many as are wanted")
    steps_per_epoch: int = Field(ge=1)


class Answer(Message):
    """What was found, or what in the spec prevents a guarantee."""

    accounted: Accounted | None = None
    problem: FieldError | None = None
