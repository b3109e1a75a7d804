"""Train a job on arrays, and fetch what an estimator keeps of it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchgrad.client import Client
from batchgrad.contract import Job
from batchgrad.display import averages
from batchgrad.errors import InvalidArgument

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Trained:
    """A job that has succeeded, its parameters as an npz, and its mean loss in each epoch."""

    job: Job
    parameters: bytes
    losses: list[float]


def service_of(client: Any) -> Client:
    """The client itself, one for a URL, or that of this process's private service for None.

    Raises:
        InvalidArgument: it is something else.
        Unavailable: the private service does not start, or is not installed.
    """
    if isinstance(client, Client):
        return client
    if isinstance(client, str):
        return Client(client)
    if client is not None:
        raise InvalidArgument(
            f"client is a {type(client).__name__}; expected a batchgrad.Client, the URL of a "
            "service, or None for a private service."
        )
    from batchgrad.user_machine.embedded import embedded  # noqa: PLC0415 (starts processes)

    return embedded()


def train(
    client: Client, spec: Mapping[str, Any], inputs: Any, targets: Any, weights: Any
) -> Trained:
    """Push the arrays, train, and delete the arrays; parameters are float64, for raw inputs.

    Raises:
        JobFailed: for example because the loss is not finite.
        BatchgradError: the service refuses the spec or the arrays, or does not answer.
    """
    dataset = f"sklearn-{uuid.uuid4().hex}"
    client.put_arrays(dataset, inputs, targets, weights)
    try:
        job = _run(client, {**spec, "dataset": dataset})
        parameters = client.parameters(
            job.id, format="npz", fold=bool(spec["standardize"]), precision="float64"
        )
        return Trained(job, parameters, _losses(client, job))
    finally:
        client.delete_dataset(dataset)


def _run(client: Client, spec: Mapping[str, Any]) -> Job:
    """The job when it has succeeded; an interrupt cancels it."""
    job = client.submit(spec)
    try:
        return client.wait(job.id, poll_interval=POLL_SECONDS)
    except KeyboardInterrupt:
        client.cancel(job.id)
        *_, _ = client.watch(job.id, poll_interval=POLL_SECONDS)  # its dataset is in use till then
        raise


def _losses(client: Client, job: Job) -> list[float]:
    epochs: dict[int, list[tuple[float, float]]] = {}
    for row in client.steps(job.id):
        if row.loss is not None:
            epochs.setdefault(row.epoch, []).append((row.loss, averages.weight(row)))
    means = [averages.mean_loss(epochs[epoch]) for epoch in sorted(epochs)]
    return [mean for mean in means if mean is not None]
