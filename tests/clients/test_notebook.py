"""A job as a data frame, as a figure and as HTML."""

import asyncio
import copy
import pickle
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from batchgrad import Dataset, Job, Ledger, Plan, errors
from batchgrad.contract import LedgerEntry
from batchgrad.notebook.figures import job_figure
from tests.clients.test_following import event

EVALUATIONS: list[tuple[int, int, dict[str, Any]]] = [
    (1, 2, {"validation_loss": 0.75, "validation_accuracy": 0.5, "best": True}),
    (2, 3, {"validation_loss": 0.5, "validation_accuracy": None, "best": True}),
]


def script(kit: Any) -> Any:
    """Two of three steps, an evaluation after the second and one after a step that is not kept."""
    rows = [{**kit.STEP, "step": 1, "loss": 4.0}, {**kit.STEP, "step": 3}]
    evaluations = [
        event(kit, seq, "evaluation") | {"data": {"step": step, "epoch": 1} | figures}
        for seq, step, figures in EVALUATIONS
    ]

    def answer(request: Any) -> Any:
        if request.url.path.endswith("/steps"):
            return kit.page(*rows)
        if request.url.path.endswith("/events"):
            return kit.page(*evaluations)
        return kit.answer(200, kit.job())

    return kit.Script(answer)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_has_a_row_for_each_step_with_flat_names(kit: Any, library: str) -> None:
    served = script(kit)
    with served.client() as client:
        frame = client.frame(client.job("job_1"), library=library, max_points=100)
    assert type(frame).__module__.startswith(library)
    assert served.seen[1].url.params["max_points"] == "100"
    assert list(frame["step"]) == [1, 2, 3]
    assert [frame[name][0] for name in ("loss", "gap_averaged_error", "seconds_compute")] == [
        4.0,
        0.5,
        0.1,
    ]
    assert list(frame["validation_loss"])[1:] == [0.75, 0.5]
    missing = frame["validation_loss"].is_null() if library == "polars" else frame.isna()["loss"]
    assert list(missing) == ([True, False, False] if library == "polars" else [False, True, False])
    assert frame["time"][0].isoformat() == "2026-01-02T03:04:05+00:00"
    assert "best" not in frame.columns


def test_the_loaded_library_is_taken_and_a_missing_one_named(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with script(kit).client() as client:
        client.frame("job_1", library="polars")
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "pandas", raising=False)
            assert type(client.frame("job_1")).__module__.startswith("polars")
        monkeypatch.setitem(sys.modules, "pandas", None)
        assert type(client.frame("job_1")).__module__.startswith("polars")
        with pytest.raises(errors.Unavailable, match=r"needs pandas, .* pip install pandas"):
            client.frame("job_1", library="pandas")
        monkeypatch.setitem(sys.modules, "polars", None)
        with pytest.raises(errors.Unavailable, match=r"needs p\w+ or p\w+, which is not installed"):
            client.frame("job_1")
        with pytest.raises(errors.InvalidArgument, match="'excel'; expected pandas or polars"):
            client.frame("job_1", library="excel")


def test_a_job_plots_itself_with_the_client_that_gave_it(kit: Any) -> None:
    with script(kit).client() as client:
        figure = client.job("job_1").plot()
    panels = [axes.get_ylabel() for axes in figure.axes]
    assert panels == ["loss", "gap to the mean gradient", "validation accuracy"]
    minibatch, validation = figure.axes[0].get_lines()
    assert (list(minibatch.get_xdata()), list(minibatch.get_ydata())) == ([1, 3], [4.0, 0.2])
    assert list(validation.get_ydata()) == [0.75, 0.5]
    assert figure._repr_png_().startswith(b"\x89PNG")

    async def main() -> Any:
        async with script(kit).async_client() as client:
            return await (await client.job("job_1")).plot()

    assert len(asyncio.run(main()).axes) == 3


def test_losses_that_are_not_positive_have_a_linear_axis() -> None:
    for last, scale in ((0.5, "log"), (0.0, "linear"), (-0.5, "linear")):
        figure = job_figure("job", {"step": [1, 2, 3], "loss": [1.0, None, last]})
        assert figure.axes[0].get_yscale() == scale


def test_a_job_without_steps_has_an_empty_figure_and_frame(kit: Any) -> None:
    empty = kit.Script(kit.answer(200, kit.job()), kit.page())
    with empty.client() as client:
        assert len(client.plot("job_1").axes) == 1
        assert len(client.frame("job_1")) == 0


def test_the_client_of_a_job_is_neither_compared_nor_pickled(kit: Any) -> None:
    with script(kit).client() as client, script(kit).client() as other:
        job = client.job("job_1")
        assert job == other.job("job_1") == Job.model_validate(kit.job())
        for again in (pickle.loads(pickle.dumps(job)), copy.deepcopy(job)):  # noqa: S301 (our own)
            assert again == job
            with pytest.raises(RuntimeError, match=r"use client\.plot\(job\)"):
                again.plot()


def test_a_missing_matplotlib_is_named(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with script(kit).client() as client, pytest.raises(errors.Unavailable, match="pip install"):
        client.plot("job_1")


class Tags(HTMLParser):
    """Checks that tags are closed in their order, and keeps them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not attrs
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


EVIL = "<script>alert('1')</script>"


def test_answers_are_escaped_tables_in_a_notebook(kit: Any) -> None:
    warned = Job.model_validate(kit.job(name=EVIL, labels={EVIL: EVIL}, detail=f"{EVIL} & more"))
    dataset = Dataset.model_validate({**kit.DATASET, "name": EVIL})
    entry = {"times_seen": 1, "mean_loss": None, "mean_norm": 1 / 3, "last_loss": 1, "last_norm": 1}
    rows = [LedgerEntry.model_validate({"example": k, "target": k, **entry}) for k in range(30)]
    ledger = Ledger(step=1, order=EVIL, data=rows)
    for answer in (warned, dataset, ledger):
        html = answer._repr_html_()
        assert Tags(html).tags <= {
            "div",
            "strong",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "details",
            "summary",
        }
        assert "&lt;script&gt;" in html
    assert "&amp; more" in warned._repr_html_()
    assert "<td>gradient norm</td><td>1.5</td>" in warned._repr_html_()
    assert "<td>weighted</td><td>no</td>" in dataset._repr_html_()
    assert ledger._repr_html_().count("<td>0.333333</td>") == 20
    assert "… 30 in all" in ledger._repr_html_()


def test_a_plan_is_a_table_with_its_layers(kit: Any) -> None:
    layer = {"name": "0", "kind": "linear", "output_shape": [10], "parameters": 650}
    numbers = dict.fromkeys(
        name for name, field in Plan.model_fields.items() if field.annotation is int
    )
    plan = Plan.model_validate(
        {
            **dict.fromkeys(numbers, 3),
            "dataset_digest": "sha256:0",
            "shortcuts": ["averaged_error"],
            "layers": [layer],
            "warnings": [EVIL],
        }
    )
    html = plan._repr_html_()
    Tags(html)
    assert "<td>linear</td><td>10</td><td>650</td>" in html
