"""A table's encoding: scikit-learn's, from training rows alone, for any order of columns."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from batchgrad_workers.arrays import Array
from batchgrad_workers.data.tables.encoding import TableEncoding, TableMismatch
from batchgrad_workers.data.tables.fitting import fit_encoding
from batchgrad_workers.data.tables.medians import medians
from tests.workers.tables.table_rows import COLORS, TableRows, table_of, table_rows


def by_name(encoding: TableEncoding, encoded: Array) -> dict[str, Array]:
    return dict(zip(encoding.names, encoded.T, strict=True))


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_scikit_learn_s(seed: int, standardize: bool) -> None:
    rows = table_rows(seed=seed, constant=17.5)
    raw, names = rows.raw, [column.name for column in rows.table.inputs]
    training = np.sort(np.random.default_rng(seed).permutation(len(raw))[:300])

    def numbers(**options: Any) -> Any:
        scaling = [StandardScaler()] if standardize else []
        return make_pipeline(SimpleImputer(**options), *scaling)

    def at(*wanted: str) -> list[int]:
        return [names.index(name) for name in wanted]

    theirs = ColumnTransformer(
        [
            ("age", numbers(strategy="mean"), at("age")),
            ("income", numbers(strategy="median"), at("income")),
            ("height", numbers(strategy="constant", fill_value=17.5), at("height")),
            ("debt", numbers(strategy="mean"), at("debt")),
            ("gaps", MissingIndicator(features="missing-only"), at("debt", "whole", "member")),
            ("whole", numbers(), at("whole")),
            ("member", "passthrough", at("member")),
            ("color", OneHotEncoder(handle_unknown="ignore"), at("color")),
            ("city", OneHotEncoder(handle_unknown="ignore"), at("city")),
            ("since", numbers(), at("since")),
        ],
        sparse_threshold=0,
    )
    theirs.fit(raw[training])

    ours = fit_encoding(rows.table, raw, training, standardize=standardize, chunk=37)

    taken = [name for name in ours.names if not name.endswith("=(other)")]
    found = by_name(ours, ours.apply(raw, "float64"))
    expected = theirs.transform(raw)
    assert expected.shape == (len(raw), len(taken))
    for name, column in zip(taken, expected.T, strict=True):
        np.testing.assert_allclose(found[name], column, rtol=1e-12, atol=1e-12, err_msg=name)
    assert not any(found[name].any() for name in ours.names if name.endswith("=(other)"))


def test_statistics_are_of_the_training_rows_alone() -> None:
    rows = table_rows()
    training = np.arange(0, 400, 2)
    before = fit_encoding(rows.table, rows.raw, training, standardize=True)
    changed = rows.raw.copy()
    changed[1::2] = changed[1::2, ::-1] * 3
    assert fit_encoding(rows.table, changed, training, standardize=True).encoding == before.encoding
    changed[2, 4] *= 3
    assert fit_encoding(rows.table, changed, training, standardize=True).encoding != before.encoding


def test_the_bits_depend_on_no_chunks_and_survive_json() -> None:
    rows = table_rows(dates="parts")
    encoding = fit_encoding(rows.table, rows.raw, np.arange(300), standardize=True)
    text = encoding.encoding.model_dump_json()
    again = TableEncoding.of(encoding.encoding.model_validate_json(text))
    assert again.encoding == encoding.encoding
    for dtype in ("float32", "float64"):
        whole = encoding.apply(rows.raw, dtype)
        parts = [again.apply(rows.raw[n : n + 7], dtype) for n in range(0, 400, 7)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
        np.testing.assert_array_equal(whole, encoding.apply(rows.raw, "float64").astype(dtype))


def test_the_width_is_that_of_the_table_whatever_the_rows() -> None:
    rows = table_rows()
    width = sum(len(column.inputs) for column in rows.table.inputs)
    for training in (np.arange(400), np.array([3])):
        encoding = fit_encoding(rows.table, rows.raw, training, standardize=True)
        assert encoding.shape == (width,)
        assert encoding.names == [name for c in rows.table.inputs for name in c.inputs]
        assert encoding.is_finite


def colors(counts: list[int], rare: int, **options: Any) -> tuple[TableRows, TableEncoding]:
    """A table with one category column that has `counts` of each color."""
    column = {"name": "color", "kind": "category", "categories": COLORS, **options}
    raw = np.repeat(np.arange(4.0), counts)[:, None]
    rows = TableRows(table_of([column], rare=rare), raw)
    return rows, fit_encoding(rows.table, raw, np.arange(len(raw)), standardize=True)


def test_a_gap_is_no_category_of_its_own_unless_a_training_row_had_one() -> None:
    _, encoding = colors([5, 5, 5, 5], 1, missing=3)  # in other rows
    assert "color=(missing)" in encoding.names
    assert not encoding.apply(np.array([[np.nan]]), "float32").any()


@pytest.mark.parametrize(
    ("counts", "rare", "expected"),
    [
        ([5, 5, 5, 5], 1, {0: "color=blue", 3: "color=violet", 4: None, -1: None}),
        ([5, 5, 0, 5], 1, {2: None, 3: "color=violet"}),
        ([5, 5, 4, 0], 5, {1: "color=green", 2: "color=(other)", 3: "color=(other)"}),
        ([5, 5, 4, 0], 5, {4: "color=(other)", -1: "color=(other)", np.nan: "color=(other)"}),
        ([5, 5, 5, 0], 5, {2: "color=red", 3: None, 9: None, np.nan: None}),
    ],
)
def test_rare_and_unknown_texts(
    counts: list[int], rare: int, expected: dict[float, str | None]
) -> None:
    """Inputs that are 0 in all training rows stay 0: their weights are not trained."""
    _, encoding = colors(counts, rare)
    for code, name in expected.items():
        encoded = encoding.apply(np.array([[code]]), "float32")[0]
        assert [n for n, x in zip(encoding.names, encoded, strict=True) if x] == [name] * (
            name is not None
        )


def test_dates_become_parts() -> None:
    column = {"name": "at", "kind": "date", "has_times": True, "missing_rule": "median"}
    table = table_of([column], dates="parts")
    times = np.array(["2024-02-29T23:59:59.999", "1969-12-31T13:00", "2000-03-01", "1899-01-02"])
    days = times.astype("datetime64[ms]").astype(np.int64) / 86_400_000
    encoding = fit_encoding(table, days[:3, None], np.arange(3), standardize=False)
    assert encoding.names == ["at year", "at month", "at day", "at weekday", "at hour"]
    assert encoding.apply(days[:, None], "float64").tolist() == [
        [2024, 2, 29, 3, 23],
        [1969, 12, 31, 2, 13],
        [2000, 3, 1, 2, 0],
        [1899, 1, 2, 0, 0],
    ]
    gap = encoding.apply(np.array([[np.nan]]), "float64")
    assert gap.tolist() == [[2000, 3, 29, 2, 13]]  # of each part, its median


def test_another_table_has_its_own_order_of_columns_and_categories() -> None:
    rows = table_rows()
    encoding = fit_encoding(rows.table, rows.raw, np.arange(300), standardize=True)
    order = np.random.default_rng(1).permutation(len(rows.table.inputs))
    columns = [rows.table.inputs[n] for n in order]
    raw = rows.raw[:, order].copy()
    for index, column in enumerate(columns):
        if column.name == "color":
            columns[index] = column.model_copy(
                update={"categories": ["aqua", *reversed(COLORS), "white"]}
            )
            raw[:, index] = 4 - raw[:, index]
    raw = np.hstack([np.ones((len(raw), 1)), raw])
    extra = columns[0].model_copy(update={"name": "not known", "inputs": ["not known"]})
    other = rows.table.model_copy(update={"columns": [extra, *columns]})
    assert (
        encoding.compiled(other).apply(raw, "float32").tobytes()
        == encoding.apply(rows.raw, "float32").tobytes()
    )
    column = 1 + [each.name for each in columns].index("color")
    raw[:, column] = 0  # aqua
    found = by_name(encoding, encoding.compiled(other).apply(raw, "float32"))
    assert not any(found[name].any() for name in encoding.names if name.startswith("color="))


def test_a_table_that_does_not_fit_is_refused() -> None:
    rows = table_rows()
    encoding = fit_encoding(rows.table, rows.raw, np.arange(300), standardize=True)
    columns = rows.table.inputs
    with pytest.raises(TableMismatch, match="There is no input column 'age'; the table has income"):
        encoding.compiled(rows.table.model_copy(update={"columns": columns[1:]}))
    text = columns[0].model_copy(update={"kind": "category", "categories": ["1", "2"]})
    with pytest.raises(TableMismatch, match=r"'age' has kind category, expected number.*kinds:"):
        encoding.compiled(rows.table.model_copy(update={"columns": [text, *columns[1:]]}))


def test_what_training_rows_lack_is_counted() -> None:
    _, encoding = colors([5, 5, 0, 5], 1)
    raw = np.array([[0], [2], [np.nan], [7], [np.nan]])
    gaps, unknown = encoding.unfamiliar(raw)
    assert (gaps.tolist(), unknown.tolist()) == ([2], [2])
    _, allowed = colors([5, 5, 0, 5], 1, missing=1)
    gaps, unknown = allowed.unfamiliar(raw)
    assert (gaps.tolist(), unknown.tolist()) == ([0], [2])


@pytest.mark.parametrize(
    ("rule", "filled"),
    [("refuse", 4.0), ("indicator", 4.0), ("mean", 4.0), ("median", 2.0), ("constant", -5.0)],
)
def test_a_gap_in_a_column_without_gaps_is_filled_and_told(rule: str, filled: float) -> None:
    table = table_of([{"name": "x", "kind": "number", "missing_rule": rule}], constant=-5)
    encoding = fit_encoding(table, np.array([[1.0], [2], [9]]), np.arange(3), standardize=False)
    gap = np.array([[np.nan]])
    assert encoding.apply(gap, "float64").tolist() == [[filled]]
    assert encoding.unfamiliar(gap)[0].tolist() == [1]


def test_a_column_of_gaps_alone_becomes_0() -> None:
    table = table_of([{"name": "x", "kind": "number", "missing_rule": "median"}])
    raw = np.full((5, 1), np.nan)
    encoding = fit_encoding(table, raw, np.arange(5), standardize=True)
    assert encoding.apply(raw, "float64").tolist() == [[0.0]] * 5


@settings(max_examples=60, derandomize=True)
@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=False, width=64)
        | st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0]),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 9),
)
def test_medians_are_numpy_s(values: list[float], chunk: int) -> None:
    numbers = np.array(values)[:, None]
    found = medians(lambda: (numbers[n : n + chunk] for n in range(0, len(numbers), chunk)), 1)
    known = numbers[~np.isnan(numbers)] / 2
    expected = 2 * np.median(known) if len(known) else 0.0
    np.testing.assert_allclose(found, [expected], rtol=1e-15)
