"""Parameter groups of a PyTorch job against torch.optim's, over several steps of a schedule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchgrad_engine.checkpoints.job_directory import newest
from tests.engine.attempts import attempt, finished
from tests.torch.small_modules import residual
from tests.torch.test_jobs import HERE, arrays, spec

STEPS = 5
RULES: list[tuple[dict[str, Any], Any]] = [
    ({"kind": "sgd", "momentum": 0.9}, lambda groups: torch.optim.SGD(groups, momentum=0.9)),
    ({"kind": "adam"}, torch.optim.Adam),
    ({"kind": "adamw"}, torch.optim.AdamW),
]


@pytest.mark.parametrize(("rule", "make"), RULES, ids=lambda each: str(each)[:14])
def test_groups_are_torch_s(dataset: Path, tmp_path: Path, rule: dict[str, Any], make: Any) -> None:
    optimizer = rule | {
        "learning_rate": 0.02,
        "weight_decay": 0.1,
        "schedule": {"kind": "step", "every": 2, "factor": 0.5},
        "groups": [{"match": "*.bias", "learning_rate": 0.05, "weight_decay": 0}],
    }
    job = spec(optimizer=optimizer, epochs=None, steps=STEPS, batch_size="full")
    job = job.model_copy(update={"validation_fraction": 0.0})
    end = finished(attempt(job, dataset, tmp_path / "job", code=HERE))
    assert end.outcome == "succeeded", end
    snapshot, _ = newest(tmp_path / "job")
    assert snapshot is not None

    torch.manual_seed(0)
    module = residual({"width": 7}).module.double()
    inputs, targets, weights = arrays(dataset)
    named = dict(module.named_parameters())
    made = make(
        [
            {
                "params": [named[name] for name in named if name.endswith(".bias") == biases],
                "lr": 0.05 if biases else 0.02,
                "weight_decay": 0.0 if biases else 0.1,
            }
            for biases in (False, True)
        ]
    )
    schedule = torch.optim.lr_scheduler.StepLR(made, 2, 0.5)
    for _ in range(STEPS):
        made.zero_grad()
        outputs = module(inputs.double())
        losses = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
        ((weights * losses).sum() / weights.sum()).backward()
        made.step()
        schedule.step()
    for name, parameter in named.items():
        np.testing.assert_allclose(
            snapshot.parameters[name], parameter.detach().numpy(), rtol=1e-9, atol=1e-12
        )
