"""Train a module of this process, on a private service or a given one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from batchgrad.client import Client
from batchgrad.contract import Event, Job, LedgerEntry, StepRow
from batchgrad.display.live.job import JobDisplay
from batchgrad.errors import InvalidArgument
from batchgrad.http.following import succeeded
from batchgrad.notebook.frames import Columns, Library, check_library, columns, frame
from batchgrad.parsing import arguments
from batchgrad.torch.loading import load_content
from batchgrad.torch.submitting import task_of
from batchgrad.torch.tasks import Task
from batchgrad.user_machine.private_service import private_service
from batchgrad.user_warnings import warn_user

LINES_EVERY_SECONDS = 5.0
MOST_SUSPECTS = 100


@dataclass(frozen=True)
class Trained:
    """What a job has made of a module.

    `module` is a copy with the trained parameters, those that the job keeps. `rows` are the job's
    step rows, `events` its events. `suspects` are the training examples with the largest mean loss
    over the run, at most 100, the largest first: often mislabelled or spoiled ones. A private job
    has none.
    """

    module: nn.Module
    job: Job
    rows: list[StepRow] = field(repr=False)
    events: list[Event] = field(repr=False)
    suspects: list[LedgerEntry] = field(repr=False)

    @property
    def history(self) -> Columns:
        """Steps and evaluations as columns: lists of the same length, by name, such as loss."""
        return columns(self.rows, self.events)

    def frame(self, library: Library | None = None) -> Any:
        """The history as a data frame of pandas or polars; see `Client.frame`."""
        return frame(self.history, check_library(library))


def train(
    module: nn.Module | Task,
    inputs: Any,
    targets: Any = None,
    *,
    loss: str | nn.Module | Callable[[Tensor, Tensor], Tensor] | None = None,
    optimizer: Mapping[str, Any],
    batch_size: Any,
    microbatch_size: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    weights: Any = None,
    workers: Any = 0,
    seed: int = 0,
    validation_fraction: float = 0.0,
    client: Client | str | None = None,
    progress: bool = True,
    **keys: Any,
) -> Trained:
    """Train a copy of a module by exact mean gradients; the module itself does not change.

    `inputs` and `targets` are arrays or tensors of n examples, (n, …); or `inputs` is a mapping of
    array names to arrays, such as {"input_ids": …, "labels": …}. `weights` (n,) are the examples'.
    `loss` is what `task` takes: a name such as "cross_entropy" or "mse", a loss of torch.nn, or a
    function of outputs and targets that gives (n,); a Task has its own. `optimizer`, `batch_size`
    and all other keys are those of a spec, as `Client.submit` takes them; give epochs or steps.

        trained = train(module, inputs, targets, loss="cross_entropy", batch_size=64, epochs=5,
                        optimizer={"kind": "adam", "learning_rate": 0.001})

    Without a `client`, or the URL of a service, a private service is started, and removed at the
    end with its data. Ctrl-C cancels the job. `progress` shows it on stderr. The job's warnings
    become UserWarnings.

    Raises:
        InvalidArgument: an argument is not valid; nothing was trained.
        JobFailed: for example because the loss is not finite.
        Unavailable: a private service does not start: it needs the extra `service`.
    """
    made = task_of(module, loss)
    data = _arrays(inputs, targets, weights)
    shows = arguments.truth("progress", progress)
    with _service(client) as service:
        job = service.submit(
            made,
            data,
            optimizer=optimizer,
            batch_size=batch_size,
            microbatch_size=microbatch_size,
            epochs=epochs,
            steps=steps,
            workers=workers,
            seed=seed,
            validation_fraction=validation_fraction,
            **keys,
        )
        for warning in job.warnings:
            warn_user(warning)
        job = _followed(service, job, shows=shows)
        trained = deepcopy(made.module)
        load_content(trained, service.parameters(job.id))
        return Trained(
            trained,
            job,
            list(service.steps(job.id)),
            list(service.events(job.id)),
            _suspects(service, job),
        )


def _suspects(service: Client, job: Job) -> list[LedgerEntry]:
    if job.spec.privacy is not None:
        return []
    return service.examples(job.id, order="mean_loss", limit=MOST_SUSPECTS).data


def _service(client: Any) -> AbstractContextManager[Client]:
    if client is None:
        return private_service()
    if isinstance(client, Client):
        return nullcontext(client)
    if isinstance(client, str):
        return Client(client)
    raise InvalidArgument(
        f"client is a {type(client).__name__}; expected a batchgrad.Client, the URL of a service, "
        "or None for a private service."
    )


def _followed(client: Client, job: Job, *, shows: bool) -> Job:
    """The job when it has succeeded, shown on stderr until then."""
    with _cancelling(client, job.id):
        if not shows:
            return client.wait(job.id)
        with JobDisplay(lines_every_seconds=LINES_EVERY_SECONDS) as display:
            for one in client.watch(job.id):
                display.update(one)
                job = one
    return succeeded(job)


@contextmanager
def _cancelling(client: Client, job_id: str) -> Iterator[None]:
    """An interrupt in the block cancels the job, and waits until it has ended."""
    try:
        yield
    except KeyboardInterrupt:
        client.cancel(job_id)
        *_, _ = client.watch(job_id)
        raise


def _arrays(inputs: Any, targets: Any, weights: Any) -> dict[str, Any]:
    """Arrays by name, of one length.

    Raises:
        InvalidArgument: the lengths differ, or a name is given twice.
    """
    if isinstance(inputs, Dataset | DataLoader):
        raise InvalidArgument(
            f"inputs is a {type(inputs).__name__}; expected an array or a tensor of n examples, "
            "(n, …), and targets: give *dataset.tensors of a TensorDataset; of another dataset "
            "*next(iter(DataLoader(dataset, batch_size=len(dataset))))."
        )
    found = dict(inputs) if isinstance(inputs, Mapping) else {"inputs": inputs}
    for name, value in (("targets", targets), ("weights", weights)):
        if value is None:
            continue
        if name in found:
            raise InvalidArgument(f"got {name} twice, in inputs and beside it: give it once.")
        found[name] = value
    if found.keys() <= {"inputs", "weights"}:
        raise InvalidArgument(
            "The array inputs has no targets: give them; or, for a Task that needs none, give "
            "{name: array} with another name than inputs."
        )
    lengths = {}
    for name, value in found.items():
        try:
            lengths[name] = len(value)
        except TypeError as error:
            raise InvalidArgument(
                f"{name} is {value!r:.60}, of type {type(value).__name__}; expected an array or a "
                "tensor of n examples, (n, …)."
            ) from error
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidArgument(f"The arrays have rows: {counts}; expected one of each an example.")
    if not all(lengths.values()):
        raise InvalidArgument("The arrays have no rows: give at least one example.")
    return found
