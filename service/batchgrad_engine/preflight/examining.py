"""The examination of a PyTorch job: it is prepared as for training, and one microbatch computed."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import (
    FieldError,
    JobSpec,
    PlannedLayer,
    ShortcutName,
    TorchParameter,
    TorchPlan,
)
from batchgrad_engine.checkpoints.initial_parameters import fill, read_tensors
from batchgrad_engine.failures import BadInitialParameters, BadInputs
from batchgrad_engine.measurement.shortcuts import wanted_shortcuts
from batchgrad_engine.preflight.messages import Examined, Preflighted, Request
from batchgrad_engine.preparation.job import prepare
from batchgrad_engine.preparation.prepared import Prepared
from batchgrad_engine.training.memory import VECTORS
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.module_config import BadModule, ModuleConfig
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.runtime.threads import single_threaded_blas
from batchgrad_workers.system.process_memory import at_most, peak_resident_bytes
from batchgrad_workers.user_code.digest import source_files
from batchgrad_workers.user_code.errors import UserCodeError, private_errors, user_errors

ONE_BY_ONE_ROWS = 2
"""Of a microbatch whose examples are computed one after the other: more need no more memory."""

VALIDATION_ROWS = 8
SHOWN_NAMES = 10


def examine(request: Request) -> Preflighted:
    """Prepare the job, compute a microbatch, and tell what was found or what prevents training."""
    try:
        with at_most(request.memory_bytes):
            return Preflighted(examined=_examine(request))
    except BadInitialParameters as error:
        return _problem("/initial_parameters", str(error))
    except (BadInputs, BadModule, UserCodeError) as error:
        of_data = isinstance(error, BadInputs) and error.__cause__ is None
        return _problem("/dataset" if of_data else "/model/torch", str(error))
    except MemoryError:
        return _problem(
            "/model/torch",
            f"{request.spec.model.torch} needs more than {request.memory_bytes / 2**30:.1f} GiB of "
            "memory, which this machine does not have: use a smaller model or microbatch_size.",
        )


def _problem(pointer: str, detail: str) -> Preflighted:
    return Preflighted(problem=FieldError(pointer=pointer, detail=detail))


def _examine(request: Request) -> Examined:
    single_threaded_blas()
    spec, other = request.spec, request.validation_dataset
    prepared = prepare(
        spec,
        DatasetSource(request.dataset),
        None,
        request.initial_parameters,
        DatasetSource(other) if other else None,
        request.code,
    )
    module, model = prepared.config.module, prepared.model
    if module is None or isinstance(model, TrainableNetwork):
        raise TypeError("A model with layers needs no preflight.")
    found = module.preflight
    with (private_errors if spec.privacy else user_errors)(spec.model.package):
        warnings = [*found.get("warnings", ()), *_compute(request, prepared, found)]
        described = import_module("batchgrad_workers.torch.describing").describe(
            model.task, spec.precision, prepared.examples.rows(_rows(prepared, 3)).arrays
        )
    parameters = [TorchParameter(**each) for each in described["parameters"]]
    return Examined(
        plan=TorchPlan(
            function=spec.model.torch or "",
            path=found["path"],
            why=found.get("why", ""),
            uncovered=list(found.get("uncovered", ())),
            random=list(found.get("random", ())),
            parameters=parameters,
            source_digest=module.source_digest,
            unavailable=_unavailable(spec, module),
        ),
        layers=[PlannedLayer(**each) for each in described["layers"]],
        parameters=model.layout.size,
        training_examples=len(prepared.sampler.training),
        validation_examples=len(prepared.evaluated.rows),
        steps_per_epoch=prepared.sampler.steps_per_epoch,
        minibatch_size=prepared.sampler.batch_size,
        weighted=module.weighted,
        has_accuracy=model.has_accuracy,
        has_values=model.has_values(prepared.examples.rows(_rows(prepared, 3))),
        shortcuts=list(prepared.shortcuts),
        memory_bytes=_memory_bytes(prepared),
        warnings=[*warnings, *_missing(request.initial_parameters, parameters)],
        files={str(path): _state(path) for path in source_files(spec.model, request.code)},
    )


def _rows(prepared: Prepared, most: int) -> Any:
    """Numbers of the first rows of step 0."""
    return prepared.sampler.minibatch(0)[:most]


def _compute(request: Request, prepared: Prepared, found: Mapping[str, Any]) -> Iterator[str]:
    """Compute a microbatch and some validation rows; warn of numbers that are not finite."""
    spec, model = request.spec, prepared.model
    parameters = model.initial_parameters(spec.seed, spec.precision)
    if request.initial_parameters:
        fill(parameters, model.layout, read_tensors(request.initial_parameters))
    loaded: Any = model.load(parameters)
    together = found["path"] == "together"
    ids = _rows(prepared, spec.microbatch if together else ONE_BY_ONE_ROWS)
    batch = prepared.examples.rows(ids)._replace(keys=prepared.sampler.keys(0, ids))
    _, losses, norms = model.gradient_sums(loaded, batch)
    examples, validation = prepared.evaluated
    if len(validation):
        model.evaluation_sums(loaded, examples.rows(validation[:VALIDATION_ROWS]))
    wrong = ids[~(np.isfinite(losses) & np.isfinite(norms))]
    if len(wrong) and spec.privacy is None:
        yield (
            f"Loss or gradient is not finite for {len(wrong)} of the first {len(ids)} examples, "
            f"first {wrong[:5].tolist()}: scale the inputs down, or lower the initial parameters."
        )


def _memory_bytes(prepared: Prepared) -> int:
    """The most that this process held, and the vectors that an engine holds beside θ."""
    vectors = (VECTORS - 2) * prepared.model.layout.size
    return peak_resident_bytes() + vectors * np.dtype(prepared.spec.precision).itemsize


def _unavailable(spec: JobSpec, module: ModuleConfig) -> dict[str, str]:
    """Shortcuts that the job would measure, but that this module does not have, and why."""
    wanted = wanted_shortcuts(spec, weighted=module.weighted)
    return {
        name: module.unavailable[name]
        for name in [*wanted, *_updating(spec)]
        if name in module.unavailable
    }


def _updating(spec: JobSpec) -> Iterator[ShortcutName]:
    if spec.update != "mean_gradient":
        yield spec.update


def _missing(initial: Path | None, parameters: Sequence[TorchParameter]) -> Iterator[str]:
    """Warn of parameters that the file with initial parameters lacks."""
    if initial is None:
        return
    lacking = [each.name for each in parameters if each.name not in read_tensors(initial)]
    if lacking:
        more = f" and {len(lacking) - SHOWN_NAMES} more" if len(lacking) > SHOWN_NAMES else ""
        yield (
            f"initial_parameters lacks {', '.join(lacking[:SHOWN_NAMES])}{more}, which keep the "
            "values that the function gave them."
        )


def _state(path: Path) -> tuple[int, int]:
    """Time of change in ns, and size in bytes."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size
