"""Prepare a PyTorch module: its code, how its sums are computed, and given values."""

from importlib import import_module
from pathlib import Path
from typing import Any

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.initial_parameters import read_tensors
from batchgrad_engine.failures import BadInitialParameters, BadInputs
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.module_config import BadModule, BadTensors, ModuleConfig
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.user_code.sources import CodeSource


def module_config(
    spec: JobSpec,
    dataset: StoredDataset,
    code: CodeSource | None,
    snapshot: Snapshot | None,
    initial: Path | None,
) -> tuple[ModuleConfig, str | None]:
    """What workers need to know of the module, and a warning if its code is not the snapshot's.

    What the snapshot records about the module holds, since it decides the bits; without one, the
    module is examined.

    Raises:
        BadInputs: the module can't be built, or not trained on this dataset.
        BadInitialParameters: the given values are not those of the module.
    """
    recorded = snapshot.module if snapshot else None
    configuring: Any = import_module("batchgrad_workers.torch.configuring")
    try:
        config: ModuleConfig = configuring.configured(
            spec, code, dataset, read_tensors(initial) if initial else {}, recorded
        )
    except BadTensors as error:
        raise BadInitialParameters(str(error)) from error
    except BadModule as error:
        raise BadInputs(str(error)) from error
    if recorded is not None and recorded["source_digest"] != config.source_digest:
        return config, (
            f"The code of {spec.model.torch} has changed since this job's checkpoint: it trains on "
            "with the new code, so its bits are those of neither."
        )
    return config, None


def check_trained(layout: ParameterLayout, snapshot: Snapshot) -> None:
    """Check that a module has the parameters of a snapshot, which other code may not have.

    Raises:
        BadInputs: names or shapes are other ones.
    """
    found = {each.name: list(each.shape) for each in layout.slices}
    trained = {name: list(array.shape) for name, array in snapshot.parameters.items()}
    for name in {**trained, **found}:
        before, now = trained.get(name, "none"), found.get(name, "none")
        if before != now:
            raise BadInputs(
                f"The shape of the trained parameter {name} is {now}, and {before} in this job's "
                f"checkpoint of step {snapshot.step}: the module's code has changed. Go on with "
                "the code that it had, or submit another job with the new one."
            )
