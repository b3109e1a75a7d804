"""From a CSV file of 200,000 rows × 40 columns to predictions, with scikit-learn's figures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchgrad.client import Client
from tests.end_to_end.csv_to_predictions import make, three_commands
from tests.end_to_end.same_as_sklearn import check_classes, check_numbers
from tests.stress.services import serving

SETTINGS = {
    "optimizer": {"kind": "adam", "learning_rate": 0.02, "schedule": {"kind": "cosine"}},
    "batch_size": 2000,
    "epochs": 15,
    "keep": "last",
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "data", tmp_path / "log") as client:
        yield client


@pytest.mark.parametrize(("target", "check"), [("label", check_classes), ("amount", check_numbers)])
def test_three_commands_have_the_figures_of_scikit_learn(
    client: Client, tmp_path: Path, target: str, check: Callable[..., dict[str, float]]
) -> None:
    data = make(tmp_path, rows=200_000, new_rows=20_000, columns=40, target=target)
    predicted = three_commands({"BATCHGRAD_URL": client.url}, data, target, SETTINGS)
    print(f"\n{data.table.stat().st_size / 1e6:.0f} MB of CSV:")  # noqa: T201
    for command, seconds in predicted.seconds.items():
        print(f"  {command:9} {seconds:6.1f} s")  # noqa: T201
    for name, figure in check(client, data, predicted).items():
        print(f"  {name}: {figure:.6f}")  # noqa: T201
