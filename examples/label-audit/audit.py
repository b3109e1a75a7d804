"""Measure how many wrong labels one training run finds: `python examples/label-audit/audit.py`.

Five per cent of the digits get a wrong label. Each method ranks all examples by suspicion; its
precision is the fraction of wrong labels among the first five per cent. All figures come from
the service: the example ledger of the run itself, and ledgers of passes that only measure.
"""
# ruff: noqa: T201 - a script, which prints

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from batchgrad import Client
from batchgrad.contract import Ledger
from batchgrad.user_machine.demo import digits
from batchgrad.user_machine.private_service import private_service

FRACTION = 0.05
FOLDS = 5
STANDSTILL = 1e-30
"""A learning rate that changes no parameter: a job with it only measures."""

Flip = Callable[[Any, np.random.Generator], Any]


def uniform(labels: Any, random: np.random.Generator) -> Any:
    """5% of all labels become another class, each equally likely."""
    changed = labels.copy()
    chosen = random.choice(len(labels), round(FRACTION * len(labels)), replace=False)
    changed[chosen] = (labels[chosen] + random.integers(1, 10, len(chosen))) % 10
    return changed


def half_of_the_fours(labels: Any, random: np.random.Generator) -> Any:
    """Label 9 on a number of 4s that equals 5% of all examples: about half of the 4s."""
    return _fours_as_nines(labels, round(FRACTION * len(labels)), random)


def a_fifth_of_the_fours(labels: Any, random: np.random.Generator) -> Any:
    """Every fifth 4 is labelled 9, 2% of all examples."""
    return _fours_as_nines(labels, np.count_nonzero(labels == 4) // 5, random)


def _fours_as_nines(labels: Any, count: int, random: np.random.Generator) -> Any:
    changed = labels.copy()
    changed[random.choice(np.flatnonzero(labels == 4), count, replace=False)] = 9
    return changed


FLIPS: dict[str, Flip] = {
    "uniform": uniform,
    "4 → 9, half of the 4s": half_of_the_fours,
    "4 → 9, a fifth of the 4s": a_fifth_of_the_fours,
}


def job(dataset: str, seed: int, epochs: int, **changes: Any) -> dict[str, Any]:
    """A network for the digits; the inputs are scaled to 0…1 already."""
    return {
        "name": "label-audit",
        "dataset": dataset,
        "model": {
            "layers": [
                {"kind": "linear", "out_features": 64},
                {"kind": "relu"},
                {"kind": "linear", "out_features": 10},
            ]
        },
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "batch_size": 64,
        "epochs": epochs,
        "seed": seed,
        "shortcuts": [],
        "workers": 0,
        "threads": 1,
        **changes,
    }


def measuring(dataset: str, seed: int, trained: str) -> dict[str, Any]:
    """One pass over `dataset` at the parameters that job `trained` ended with."""
    still = {"kind": "sgd", "learning_rate": STANDSTILL}
    start = {"job": trained}
    return job(dataset, seed, 1, optimizer=still, initial_parameters=start)


def precision(scores: Any, wrong: Any) -> float:
    """The fraction of `wrong` (n,) among the highest `scores` (n,), as many as are wrong."""
    suspects = np.argsort(-np.asarray(scores), kind="stable")[: np.count_nonzero(wrong)]
    return float(np.mean(np.asarray(wrong)[suspects]))


def in_training(ledger: Ledger, wrong: Any) -> dict[str, float]:
    """Precisions of what the ledger of a training run says; its entries in order of example."""
    rows = ledger.data
    return {
        "in training, mean loss": precision([row.mean_loss for row in rows], wrong),
        "in training, mean norm": precision([row.mean_norm for row in rows], wrong),
        "last epoch, loss": precision([row.last_loss for row in rows], wrong),
        "last epoch, norm": precision([row.last_norm for row in rows], wrong),
    }


def audit(client: Client, flip: Flip, seed: int, epochs: int) -> dict[str, float]:
    """Precision by method, for one kind of wrong labels and one seed."""
    random = np.random.default_rng(seed)
    inputs, labels = digits()
    inputs = inputs / np.float32(16)
    given = flip(labels, random)
    wrong = given != labels
    client.put_arrays("audit", inputs, given, replace=True)

    trained = client.wait(client.submit(job("audit", seed, epochs)).id).id
    found = in_training(ledger_of(client, trained), wrong)
    after = ledger_of(client, client.submit(measuring("audit", seed, trained)).id).data
    found["trained model, loss"] = precision([row.last_loss for row in after], wrong)
    found["trained model, norm"] = precision([row.last_norm for row in after], wrong)

    losses = np.empty(len(labels))
    for held_out, dataset, rest in folds(client, inputs, given, random):
        fold = client.wait(client.submit(job(rest, seed, epochs)).id).id
        unseen = ledger_of(client, client.submit(measuring(dataset, seed, fold)).id).data
        losses[held_out] = [row.last_loss for row in unseen]
    found[f"{FOLDS}-fold, out-of-fold loss"] = precision(losses, wrong)
    return found


def ledger_of(client: Client, job_id: str) -> Ledger:
    """The whole ledger of a job once it is done, in order of example."""
    return client.examples(client.wait(job_id).id, order="example", limit=None)


def folds(
    client: Client, inputs: Any, labels: Any, random: np.random.Generator
) -> Iterator[tuple[Any, str, str]]:
    """Row numbers of each fold, and the names of the datasets with these rows and with the rest."""
    for fold in np.array_split(random.permutation(len(labels)), FOLDS):
        rest = np.setdiff1d(np.arange(len(labels)), fold)
        client.put_arrays("fold", inputs[fold], labels[fold], replace=True)
        client.put_arrays("rest", inputs[rest], labels[rest], replace=True)
        yield fold, "fold", "rest"


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Mean ± standard deviation in per cent, as Markdown: a row a method, a column a flip."""
    methods = list(next(iter(results.values()))[0])
    lines = [f"| method | {' | '.join(results)} |", f"|---{'|---:' * len(results)}|"]
    for method in methods:
        cells = []
        for runs in results.values():
            percent = 100 * np.array([run[method] for run in runs])
            cells.append(f"{percent.mean():.1f} ± {percent.std(ddof=len(runs) > 1):.1f}")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Every flip with every seed, in a private service."""
    parser = argparse.ArgumentParser(description="Find wrong labels by the example ledger.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in FLIPS}
    with private_service() as client:
        for name, flip in FLIPS.items():
            for seed in range(arguments.seeds):
                results[name].append(audit(client, flip, seed, arguments.epochs))
                print(name, seed, json.dumps(results[name][-1]), file=sys.stderr)
    print(table(results))


if __name__ == "__main__":
    main()
