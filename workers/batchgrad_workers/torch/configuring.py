"""The config of a PyTorch module for workers: built, examined, and compared with what was."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from batchgrad.contract import JobSpec, Precision, ShortcutName
from batchgrad.torch.tasks import Task
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.module_config import BadModule, BadTensors, ModuleConfig
from batchgrad_workers.torch.determinism import prepare_process, torch_build_info
from batchgrad_workers.torch.examples import ModuleExamples, as_batch
from batchgrad_workers.torch.preflight.prepare import LEAST_ROWS, prepare
from batchgrad_workers.torch.preflight.report import Preflight
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Replica
from batchgrad_workers.torch.shortcuts.available import available
from batchgrad_workers.torch.trainable import DTYPES, TrainableModule
from batchgrad_workers.user_code.digest import source_digest
from batchgrad_workers.user_code.errors import UserCodeError, place_of, private_errors, user_errors
from batchgrad_workers.user_code.loading import load_task
from batchgrad_workers.user_code.sources import CodeSource

ROWS = 8
"""Of the dataset, on which a module is examined."""


def configured(
    spec: JobSpec,
    code: CodeSource | None,
    dataset: StoredDataset,
    tensors: Mapping[str, Array],
    recorded: Mapping[str, Any] | None,
) -> ModuleConfig:
    """What workers need to know of the module of `spec`.

    `tensors` are given values by name, of parameters and buffers. `recorded` is what a checkpoint
    keeps of an earlier config: the module is not examined again, unless its code has changed.

    Raises:
        BadModule: the module can't be built, or can't be trained on this dataset.
    """
    prepare_process()
    task = _task(spec, code)
    device = _device(spec.num_gpus)
    cast = getattr(torch, spec.model.autocast) if spec.model.autocast else None
    try:
        replica = Replica(task, DTYPES[spec.precision], device, cast)
    except Refused as error:
        raise BadModule(str(error)) from error
    digest = source_digest(spec.model, code)
    if recorded and recorded["source_digest"] == digest:
        preflight = recorded["preflight"]
    else:
        preflight = _examined(replica, task, dataset, spec)
    return ModuleConfig(
        model=spec.model,
        code=code,
        preflight=preflight,
        unavailable=_unavailable(Preflight.from_json(dict(preflight)), task),
        weighted=task.weights is not None,
        state=_fixed(replica, tensors),
        source_digest=digest,
        build=torch_build_info(),
        device=device,
    )


def open_module(
    config: ModuleConfig,
    *,
    precision: Precision,
    seed: int,
    with_means: bool,
    with_microbatch_means: bool,
    private: bool = False,
) -> TrainableModule:
    """Build the module on this host, which must have the engine's code and libraries.

    Raises:
        BadModule: it can't be built here, or its code or the libraries are not the engine's.
    """
    prepare_process()
    if config.device == "cuda":
        _device(1)
    try:
        task = load_task(config.model, config.code, seed)
    except UserCodeError as error:
        raise BadModule(str(error)) from error
    _check_same("code", source_digest(config.model, config.code), config.source_digest)
    for name, theirs in config.build.items():
        _check_same(name, torch_build_info().get(name, "none"), theirs)
    return TrainableModule(
        task,
        precision,
        package=config.model.package,
        preflight=Preflight.from_json(dict(config.preflight)),
        state=config.state,
        device=config.device,
        autocast=config.model.autocast,
        with_means=with_means,
        with_microbatch_means=with_microbatch_means,
        private=private,
    )


def _examined(
    replica: Replica, task: Task, dataset: StoredDataset, spec: JobSpec
) -> dict[str, Any]:
    """How the module's sums are computed, found out on rows from all over the dataset."""
    private = spec.privacy is not None
    try:
        with (private_errors if private else user_errors)(spec.model.package):
            examples = ModuleExamples(dataset, task, spec.precision, private=private)
            present = examples.all_present().rows
            if len(present) < LEAST_ROWS:
                raise BadModule(
                    f"{len(present)} examples have a weight above 0; {LEAST_ROWS} or more are "
                    "needed to check that a module does not mix them."
                )
            places = np.linspace(0, len(present) - 1, min(ROWS, len(present))).astype(np.int64)
            return prepare(
                replica, as_batch(examples.rows(present[places]), replica.device)
            ).to_json()
    except UserCodeError as error:
        raise BadModule(str(error)) from None if private else error
    except Refused as error:
        place = place_of(error.__cause__, spec.model.package) if error.__cause__ else ""
        found = error.without_numbers() if private else str(error)
        cause = None if private else error
        raise BadModule(f"{found} It arose in {place}." if place else found) from cause


def _unavailable(preflight: Preflight, task: Task) -> dict[ShortcutName, str]:
    """Shortcuts that this module does not have, and why."""
    if preflight.trace is None:
        why = "The examples are computed one by one, so that calls have no mean inputs and errors."
        return {"averaged_error": why, "mean_example": why}
    return {name: why for name, why in available(preflight.trace, task).items() if why}


def _task(spec: JobSpec, code: CodeSource | None) -> Any:
    try:
        return load_task(spec.model, code, spec.seed)
    except UserCodeError as error:
        raise BadModule(str(error)) from error


def _device(num_gpus: float) -> str:
    if not num_gpus:
        return "cpu"
    if not torch.cuda.is_available():
        raise BadModule(
            f"num_gpus is {num_gpus:g}, but PyTorch finds no GPU on the host of the service, where "
            "the module is examined and the shortcuts are measured: run the service on a host with "
            "a GPU like the workers', or remove num_gpus."
        )
    return "cuda"


def _check_same(what: str, ours: str, theirs: str) -> None:
    if ours != theirs:
        raise BadModule(
            f"This host has another {what} than the engine: {ours}, expected {theirs}. Sums would "
            "depend on which worker computes them: give all nodes the same packages."
        )


def _fixed(replica: Replica, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Those of the given tensors that are not trained, after a check of all."""
    known = replica.module.state_dict(keep_vars=True)
    for name, array in tensors.items():
        if name not in known:
            raise BadTensors(
                f"initial_parameters has {name}, which the module lacks; it has "
                f"{', '.join(list(known)[:20])}."
            )
        if tuple(known[name].shape) != array.shape:
            raise BadTensors(
                f"initial_parameters has {name} with shape {list(array.shape)}; in the module it "
                f"has {list(known[name].shape)}."
            )
    trained = {id(parameter) for parameter in replica.trainable.values()}
    return {name: array for name, array in tensors.items() if id(known[name]) not in trained}
