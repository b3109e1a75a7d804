"""A CSV file's columns give the same bits on any workers, and its encoding is in the download."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad import read_card
from batchgrad.client import Client
from tests.end_to_end.digits_job import bits

pytestmark = pytest.mark.ray

COLORS = ["blue", "green", "", "red"]


@pytest.fixture(scope="module")
def table(client: Client, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Push 300 rows with numbers, gaps, texts and dates; return them."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for n in range(300):
        color, age = int(random.integers(4)), f"{random.normal(40, 9):.3f}"
        rows.append(
            {
                "age": age if random.random() < 0.9 else "",
                "color": COLORS[color],
                "since": f"202{n % 5}-0{n % 9 + 1}-1{n % 7}",
                "bought": "yes" if color + random.normal() > 1.5 else "no",
            }
        )
    file: Path = tmp_path_factory.mktemp("table") / "customers.csv"
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    file.write_text("".join(",".join(line) + "\n" for line in lines))
    client.put_dataset("customers", file, target="bought", missing="indicator", dates="parts")
    return rows


def trained(client: Client, workers: int, **changes: Any) -> Any:
    job = client.submit(
        {
            "name": "customers",
            "dataset": "customers",
            "model": {
                "layers": [
                    {"kind": "linear", "out_features": 8},
                    {"kind": "relu"},
                    {"kind": "linear", "out_features": 2},
                ]
            },
            "loss": "softmax_cross_entropy",
            "optimizer": {"kind": "adam", "learning_rate": 0.05},
            "batch_size": 100,
            "microbatch_size": 16,
            "epochs": 3,
            "validation_fraction": 0.2,
            "standardize": True,
            "workers": workers,
            **changes,
        }
    )
    return client.wait(job.id, timeout=60)


def test_workers_and_threads_do_not_change_the_bits(
    client: Client, table: list[dict[str, Any]]
) -> None:
    alone = trained(client, 0, threads=1)
    assert bits(trained(client, 3, threads=2)) == bits(alone)

    card = read_card(client.parameters(alone.id, precision="float64"))
    assert card.training is not None
    assert card.training.classes == ["no", "yes"]
    assert card.training.inputs == [
        *("age", "age is missing", "color=blue", "color=green", "color=red"),
        *("color=(missing)", "color=(other)", "since year", "since month", "since day"),
        "since weekday",
    ]
    [encoded] = card.encode(table[:1])
    assert len(encoded) == len(card.training.inputs)
