"""Three commands from a CSV file to predictions, beside scikit-learn's pipeline on the same rows.

The table has numbers, dates, texts, gaps, and labels that are texts. scikit-learn reads the same
file by pandas, and fills, scales and encodes its columns by its own classes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS, DATES, TEXTS = "number", "date", "text"
"""What the names of columns begin with."""


@dataclass(frozen=True)
class Data:
    """The files of a test: `table` to train on, `new` without targets; and the rows of both."""

    table: Path
    new: Path
    rows: pd.DataFrame
    new_rows: pd.DataFrame


def make(folder: Path, *, rows: int, new_rows: int, columns: int, target: str) -> Data:
    """Write the files; `target` is `label`, three texts, or `amount`, a number.

    Of the `columns` inputs one in ten is a date, three in ten are texts, the others numbers. One
    number in five has gaps, and one text in three. The column `set` holds out a fifth of the rows.
    """
    random = np.random.default_rng(7)
    count = rows + new_rows
    dates, texts = columns // 10, 3 * columns // 10
    frame, score = {}, np.zeros((count, 3))
    for index in range(columns - dates - texts):
        values = random.normal(10 * index, 1 + index, count).round(4)
        score += _effect(random, (values - 10 * index) / (1 + index))
        gap = random.random(count) < (0.1 if index % 5 == 0 else 0)
        frame[f"{NUMBERS}{index}"] = np.where(gap, np.nan, values)
    for index in range(dates):
        days = random.integers(15_000, 20_000, count)
        score += _effect(random, (days - 17_500) / 1_500)
        frame[f"{DATES}{index}"] = days.astype("datetime64[D]").astype(str)
    for index in range(texts):
        codes = random.integers(0, 3 + index % 5, count)
        score += random.normal(0, 0.5, (8, 3))[codes]
        gap = random.random(count) < (0.1 if index % 3 == 0 else 0)
        names = np.array([f"kind {code}, of {index}" for code in range(8)])
        frame[f"{TEXTS}{index}"] = np.where(gap, "", names[codes])
    score *= 1.5 / score.std()
    if target == "label":
        noisy = score + random.gumbel(size=score.shape)
        frame["label"] = np.array(["leaves", "returns", "stays"])[noisy.argmax(1)]
    else:
        frame["amount"] = (score[:, 0] + random.normal(0, 1, count)).round(4)
    frame["set"] = np.where(random.random(count) < 0.2, "validation", "train")
    whole = pd.DataFrame(frame)
    known, new = whole[:rows], whole[rows:].reset_index(drop=True)
    data = Data(folder / f"{target}.csv", folder / f"new_{target}.csv", known, new)
    known.to_csv(data.table, index=False)
    new.drop(columns=[target, "set"]).to_csv(data.new, index=False)
    return data


def _effect(random: np.random.Generator, values: Any) -> Any:
    return np.outer(values, random.normal(0, 0.3, 3))


def encoder(columns: Sequence[str]) -> ColumnTransformer:
    """scikit-learn's encoding of raw rows, a data frame."""
    return ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(strategy="mean"), StandardScaler()),
                [name for name in columns if name.startswith((NUMBERS, DATES))],
            ),
            (
                "texts",
                OneHotEncoder(handle_unknown="ignore"),
                [name for name in columns if name.startswith(TEXTS)],
            ),
        ]
    )


def scikit_learn(data: Data, target: str, model: Any) -> Pipeline:
    """A pipeline fitted on the rows of the set train."""
    training = data.rows[data.rows["set"] == "train"]
    inputs = plain(training.drop(columns=[target, "set"]))
    return make_pipeline(encoder(list(inputs.columns)), model).fit(inputs, training[target])


def plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with dates as days since 1970."""
    return rows.assign(
        **{
            name: pd.to_datetime(rows[name]).astype("datetime64[s]").astype("int64") / 86_400
            for name in rows.columns
            if name.startswith(DATES)
        }
    )


@dataclass(frozen=True)
class Predicted:
    """The file that the third command wrote, and the seconds that each command took."""

    rows: pd.DataFrame
    job: str
    seconds: Mapping[str, float]


def three_commands(
    service: Mapping[str, str], data: Data, target: str, settings: Mapping[str, Any]
) -> Predicted:
    """Push, train and predict by the command line.

    `service` are the variables BATCHGRAD_URL and BATCHGRAD_TOKEN, `settings` keys of the spec.
    """
    spec, to = data.table.with_suffix(".yaml"), data.new.with_suffix(".predicted.csv")
    name = data.table.stem
    seconds = {}

    def run(*words: str) -> str:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "batchgrad", *words],
            env={**os.environ, **service},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        seconds[words[0]] = time.monotonic() - began
        return done.stdout

    outputs = 3 if target == "label" else 1
    fixed = {
        "name": name,
        "dataset": name,
        "model": {"layers": [{"kind": "linear", "out_features": outputs}]},
        "loss": "softmax_cross_entropy" if target == "label" else "squared_error",
        "validation": {"rows": "set"},
        "standardize": True,
    }
    spec.write_text(yaml.safe_dump({**fixed, **settings}))
    push = ["datasets", "push", name, str(data.table), "--target", target]
    run(*push, "--split", "set", "--missing", "mean")
    job = run("submit", str(spec), "--watch").split()[0]
    run("predict", job, str(data.new), "--to", str(to))
    return Predicted(pd.read_csv(to), job, seconds)
