"""The example ledger and influence on steps, in client and command line."""

import json
from typing import Any

import pytest


def entry(example: int, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "example": example,
        "id": None,
        "target": 4,
        "class_name": None,
        "prediction": None,
        "probability": None,
        "suspicion": example + 1,
        "times_seen": 30,
        "mean_loss": 1.974,
        "mean_norm": 8.317,
        "last_loss": 0.1271,
        "last_norm": 2.477,
        **changes,
    }
    return made


def page(*examples: int, after: str | None = None, step: int = 180) -> dict[str, Any]:
    return {
        "step": step,
        "parameters_step": None,
        "order": "mean_norm",
        "data": [entry(example) for example in examples],
        "next": after,
    }


SHARE = {
    "example": 69,
    "id": None,
    "weight": 1.0,
    "loss": 0.1652,
    "share": 0.2744,
    "norm": 2.6525,
    "alignment": 0.5816,
    "leave_one_out_distance": None,
}
STEP = {
    "step": 100,
    "replayed_from": 90,
    "gradient_norm": 0.0612,
    "gradient_checksum": "5e2a",
    "verified": True,
    "data": [SHARE],
}


def test_as_many_pages_as_the_limit_takes(kit: Any) -> None:
    script = kit.Script(
        kit.answer(200, page(*range(1000), after="more")),
        kit.answer(200, page(*range(1000, 1200), after="still more", step=190)),
    )
    with script.client() as client:
        found = client.examples("job_1", order="mean_loss", limit=1200)
    assert (len(found.data), found.step, found.next) == (1200, 190, "still more")
    queries = [dict(request.url.params) for request in script.seen]
    assert queries == [
        {"order": "mean_loss", "limit": "1000"},
        {"order": "mean_loss", "limit": "200", "after": "more"},
    ]


def test_without_a_limit_all_there_are(kit: Any) -> None:
    script = kit.Script(
        kit.answer(200, page(1, 2, after="more")), kit.answer(200, page(3, after=None))
    )
    with script.client() as client:
        found = client.examples("job_1", limit=None)
    assert [x.example for x in found.data] == [1, 2, 3]


def test_step_examples_are_typed(kit: Any) -> None:
    script = kit.Script(kit.answer(200, STEP))
    with script.client() as client:
        found = client.step_examples("job_1", 100, order="norm", limit=7)
    assert (found.verified, found.data[0].share) == (True, 0.2744)
    assert script.seen[0].url.path == "/v1/jobs/job_1/steps/100/examples"
    assert dict(script.seen[0].url.params) == {"order": "norm", "limit": "7"}


def test_the_largest_losses_are_printed_first(kit: Any, run: Any) -> None:
    script = kit.Script(kit.answer(200, page(1660, 7)))
    done = run(script, "examples", "job_1", "--limit", "2")
    assert done.exit_code == 0
    assert dict(script.seen[0].url.params) == {"order": "mean_norm", "limit": "2"}
    assert done.stdout.split()[:5] == ["up", "to", "step", "180", "order"]
    assert "1660      4        30     8.317" in done.stdout
    unseen = entry(5, target=None, times_seen=0, mean_norm=None, mean_loss=None)
    script = kit.Script(kit.answer(200, {**page(), "data": [unseen]}))
    assert "5         –        0      –" in run(script, "examples", "job_1").stdout


def test_the_influence_on_a_step_is_printed_with_its_check(kit: Any, run: Any) -> None:
    script = kit.Script(kit.answer(200, STEP))
    shown = run(script, "examples", "job_1", "--step", "100").stdout
    assert dict(script.seen[0].url.params) == {"order": "share", "limit": "20"}
    assert "100, replayed from step 90" in shown
    assert "5e2a, the run's own" in shown
    assert "69        0.2744   2.652   0.5816      –" in shown.replace("2.653", "2.652")
    script = kit.Script(kit.answer(200, {**STEP, "verified": False}))
    assert "NOT the run's" in run(script, "examples", "job_1", "--step", "100").stdout


def test_json_is_the_answer_itself(kit: Any, run: Any) -> None:
    script = kit.Script(kit.answer(200, page(1)))
    done = run(script, "examples", "job_1", "--output", "json")
    assert json.loads(done.stdout) == page(1)
    script = kit.Script(kit.answer(200, STEP))
    done = run(script, "examples", "job_1", "--step", "100", "--output", "json")
    assert json.loads(done.stdout) == STEP


def test_ids_are_shown_where_there_are_some(kit: Any, run: Any) -> None:
    named = {**page(), "data": [entry(5, id="anna"), entry(6)]}
    shown = run(kit.Script(kit.answer(200, named)), "examples", "job_1").stdout.split()
    assert shown[shown.index("5") + 1] == "anna"
    step = {**STEP, "data": [SHARE | {"id": "berta"}]}
    assert (
        "berta" in run(kit.Script(kit.answer(200, step)), "examples", "job_1", "--step", "1").stdout
    )


def test_rows_of_a_set_come_page_by_page(kit: Any, run: Any) -> None:
    def answers(*ids: str | None) -> Any:
        one, other = ({"example": 2 + n, "id": text} for n, text in enumerate(ids))
        return kit.Script(
            kit.answer(200, {"data": [one], "next": "2"}),
            kit.answer(200, {"data": [other], "next": None}),
        )

    script = answers("anna", "berta")
    lines = run(script, "rows", "job_1", "--set", "test").stdout.splitlines()
    assert [line.split() for line in lines] == [["example", "id"], ["2", "anna"], ["3", "berta"]]
    queries = [dict(request.url.params) for request in script.seen]
    assert [query.pop("limit") for query in queries] == ["50000"] * 2
    assert queries == [{"set": "test"}, {"set": "test", "after": "2"}]
    assert run(answers(None, None), "rows", "job_1").stdout.split() == ["example", "2", "3"]
    rows = run(answers("anna", "berta"), "rows", "job_1", "--output", "json").stdout.splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["anna", "berta"]
    none = run(kit.Script(kit.answer(200, {"data": [], "next": None})), "rows", "job_1")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "Job job_1 has no validation rows." in none.stderr
    wrong = run(kit.Script(), "rows", "job_1", "--set", "all")
    assert (wrong.exit_code, "training, validation, test" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--order", "share"], "mean_norm"), (["--step", "3", "--order", "mean_norm"], "alignment")],
)
def test_an_order_of_the_other_list_sends_nothing(
    kit: Any, run: Any, arguments: list[str], expected: str
) -> None:
    script = kit.Script(kit.answer(200, STEP))
    done = run(script, "examples", "job_1", *arguments)
    assert (done.exit_code, script.seen) == (2, [])
    assert expected in done.stderr


def test_predictions_are_asked_for_and_shown(kit: Any, run: Any) -> None:
    predicted = [
        entry(3, prediction="nine", probability=0.875),
        entry(4, target=0.5, prediction=0.25),
        entry(5, target=None, prediction=[1.5, 2.0]),
    ]
    answer = kit.answer(200, {**page(), "data": predicted, "parameters_step": 170})
    script = kit.Script(answer)
    shown = run(script, "examples", "job_1", "--predictions").stdout
    assert dict(script.seen[0].url.params)["predictions"] == "true"
    assert "of the parameters of step 170" in shown
    assert "nine         87.50%" in shown
    assert "1.5, 2       –" in shown
    both = run(kit.Script(), "examples", "job_1", "--predictions", "--step", "3")
    assert (both.exit_code, "leave out --step" in both.stderr) == (2, True)


def test_csv_has_a_line_for_each_example(kit: Any, run: Any) -> None:
    rows = [entry(3, id="=1+1", prediction=9, probability=0.5), entry(4, class_name="four, or 4")]
    script = kit.Script(kit.answer(200, {**page(), "data": rows}))
    assert run(script, "examples", "job_1", "--output", "csv").stdout.splitlines() == [
        (
            "suspicion,example,id,label,prediction,probability,"
            "mean_loss,mean_norm,last_loss,last_norm,times_seen"
        ),
        "4,3,'=1+1,4,9,0.5,1.974,8.317,0.1271,2.477,30",
        '5,4,,"four, or 4",,,1.974,8.317,0.1271,2.477,30',
    ]
