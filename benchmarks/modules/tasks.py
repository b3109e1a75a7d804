"""The workloads as tasks of batchgrad, which specs name."""

from typing import Any

from batchgrad.torch import Task, causal_language_model, classification
from benchmarks.modules.models import module
from benchmarks.modules.workloads import ALL


def build(config: dict[str, Any]) -> Task:
    """The task of the workload that `config` names."""
    workload = ALL[config["workload"]]
    if workload.kind == "gpt":
        return causal_language_model(module(workload), labels="labels", shift=False)
    return classification(module(workload))
