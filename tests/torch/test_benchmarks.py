"""The benchmarks of PyTorch modules: programs at small sizes, what they compute, the report."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from batchgrad.contract import JobSpec
from batchgrad_workers.torch import together
from batchgrad_workers.torch.replica import Batch, Replica
from benchmarks.contestants import Contestant, Ours, Program
from benchmarks.modules.contestants import GROUPS, QUICK, QUICK_WORKLOADS, spec
from benchmarks.modules.models import losses, module, tensors
from benchmarks.modules.report import write
from benchmarks.modules.targets import REASONS, TARGETS
from benchmarks.modules.tasks import build
from benchmarks.modules.workloads import ALL, EXAMPLES, TINY, WORKLOADS, data
from benchmarks.peers import PEERS_READY, Running
from benchmarks.results import Burst, Comparison, Measured, Results
from benchmarks.targets import outcomes, reasons

EVERY: list[Contestant] = [each for group in GROUPS.values() for each in group]
PROGRAMS = [each for each in EVERY if isinstance(each, Program)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: each.name)
def test_each_program_answers(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    if program.module != "opacus":  # torch is here, too
        monkeypatch.setattr("benchmarks.peers.PEERS_PYTHON", Path(sys.executable))
    elif not PEERS_READY.exists():
        pytest.skip("Opacus is not installed: make peers")
    running = Running(program, "tiny-gpt")
    try:
        assert set(running.prepare()) <= {"torch", "opacus", "batchgrad"}
        burst = running.burst(0.01)
        assert burst.steps >= 1
        assert burst.seconds > 0
        assert 0 <= running.peak_bytes() < 2**31
    finally:
        running.close()


@pytest.mark.parametrize("workload", TINY.values(), ids=lambda each: each.name)
def test_contestants_compute_the_same_losses_and_gradients(workload: Any) -> None:
    inputs, targets = (each[: workload.batch_size] for each in tensors(workload))
    model = module(workload).double()
    if inputs.is_floating_point():
        inputs = inputs.double()
    found = losses(model(inputs), targets)
    found.mean().backward()

    replica = Replica(build({"workload": workload.name}), torch.float64)
    rows = dict(zip(data(workload, 1), (inputs, targets), strict=True))
    batch = Batch(rows, torch.ones(len(targets), dtype=torch.float64))
    sums = together.sums(replica, batch, together.trace(replica, batch))

    assert torch.allclose(sums.losses, found, rtol=1e-12)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        own = sums.gradients[name] / len(targets)
        assert torch.allclose(own, parameter.grad, rtol=1e-9, atol=1e-12), name


def test_an_untied_gpt_differs_in_its_head_and_places_alone() -> None:
    gpt, untied = (module(TINY["tiny-gpt"], untied=each) for each in (False, True))
    untied.load_state_dict(
        {
            **gpt.state_dict(),
            "places.weight": gpt.places,
            "head.weight": gpt.words.weight,
        }
        | {name: each for name, each in gpt.state_dict().items() if name != "places"},
        strict=False,
    )
    ids = tensors(TINY["tiny-gpt"])[0][:3]
    assert torch.equal(gpt(ids), untied(ids))


def test_the_jobs_are_valid_specs_of_two_microbatches() -> None:
    for workload in ALL.values():
        assert EXAMPLES % workload.batch_size == 0
        for ours in (each for each in EVERY if isinstance(each, Ours)):
            job = JobSpec.model_validate_json(json.dumps(spec(ours, workload, "data")))
            assert 2 * job.microbatch == workload.batch_size


def test_targets_and_quick_runs_name_contestants() -> None:
    for target in TARGETS:
        names = {each.name for each in GROUPS[target.group]}
        assert {target.name, *target.others} <= names, target.key
    assert len({target.key for target in TARGETS}) == len(TARGETS)
    assert set(QUICK_WORKLOADS) <= set(WORKLOADS)
    for group, quick in QUICK.items():
        assert set(quick) <= {each.name for each in GROUPS[group]}
    assert set(reasons(REASONS, TARGETS)) <= {target.key for target in TARGETS}


def test_the_report_has_ratios_and_targets() -> None:
    def measured(name: str, ms: float) -> Measured:
        return Measured(name, [Burst(1, ms / 1e3)], 2**20)

    alone = {"plain": measured("Plain", 10), "ours-norms": measured("Ours", 12.5)}
    steps = {
        "ours-inline-2": measured("Service", 20),
        "opacus-ghost-2": measured("Ghost", 30),
        "ddp-2": measured("DDP", 15),
    }
    machine = {"cpu": "C", "cores": 2, "memory_bytes": 2**30, "load_at_start": 0, "system": "L"}
    comparisons = [
        Comparison("gpt-128", "alone", 32, alone),
        Comparison("gpt-128", "training", 32, steps),
    ]
    results = Results(machine, {"torch": "2"}, "2026-01-01", 1, 1.0, comparisons)

    met = {each.target.key: each.met for each in outcomes(results, TARGETS)}
    assert met == {
        "gpt-128-norms": True,
        "gpt-128-inline-2-opacus-ghost-2": True,
        "gpt-128-inline-2-ddp-2": False,
    }
    text = write(results, {"gpt-128-inline-2-ddp-2": "Because."})
    assert "2 of 3 are met." in text
    assert "at most 1.3× a plain backward pass | ≤ 1.3 | 1.25 (1.25–1.25) | yes" in text
    assert "**no**, by 25% | Because. |" in text
    assert "| Ours | 12.5 (12.5–12.5) | 80.0 | 2,560 | 1.25 (1.25–1.25) | 1 |" in text
