"""From a CSV file to predictions by three commands, with scikit-learn's figures.

`make test-large` runs the same on a table that is 80 times as large.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchgrad.client import Client
from tests.end_to_end.csv_to_predictions import make, three_commands
from tests.end_to_end.same_as_sklearn import check_classes, check_numbers

SETTINGS = {
    "optimizer": {"kind": "adam", "learning_rate": 0.1, "schedule": {"kind": "cosine"}},
    "batch_size": "full",
    "epochs": 120,
    "keep": "last",
    "workers": 0,
}


@pytest.mark.parametrize(("target", "check"), [("label", check_classes), ("amount", check_numbers)])
def test_three_commands_have_the_figures_of_scikit_learn(
    client: Client,
    data_folder: Path,
    tmp_path: Path,
    target: str,
    check: Callable[..., dict[str, float]],
) -> None:
    data = make(tmp_path, rows=5_000, new_rows=1_000, columns=20, target=target)
    [token] = data_folder.glob("*/token")
    service = {"BATCHGRAD_URL": client.url, "BATCHGRAD_TOKEN": token.read_text()}
    check(client, data, three_commands(service, data, target, SETTINGS))
