"""A change of a field changes its value in the YAML, and nothing else."""

import contextlib
from unittest.mock import patch

import pytest

from batchgrad.parsing.documents import parse_yaml
from batchgrad_service.web.spec_editor import edits
from batchgrad_service.web.spec_editor.changes import change
from batchgrad_service.web.spec_editor.nodes import RefusedEditError

TEXT = """\
# top
name: first   # of many
model:
  layers:
    # hidden
    - {kind: linear, out_features: 64}  # wide
    # its activation
    - kind: leaky_relu
      negative_slope: 0.1
    - {kind: linear, out_features: 10}
optimizer: {kind: sgd, learning_rate: 1e-1, momentum: 0.9}  # fast
privacy:
epochs: 30  # or steps

# end
"""


def changed_lines(text: str, made: str) -> tuple[list[str], list[str]]:
    """The lines that are gone, and those that are new."""
    before, after = text.split("\n"), made.split("\n")
    return (
        [line for line in before if line not in after],
        [line for line in after if line not in before],
    )


@pytest.mark.parametrize(
    ("action", "pointer", "value", "gone", "new"),
    [
        ("set", "/name", "a b", ["name: first   # of many"], ['name: "a b"   # of many']),
        ("set", "/name", "12", ["name: first   # of many"], ['name: "12"   # of many']),
        ("set", "/seed", "3", [], ["seed: 3"]),
        ("set", "/workers", "{max: 2, min: 1}", [], ["workers: {max: 2, min: 1}"]),
        (
            "set",
            "/model/layers/1/negative_slope",
            "1e-3",
            ["      negative_slope: 0.1"],
            ["      negative_slope: 1e-3"],
        ),
        ("set", "/model/layers/1/negative_slope", "", ["      negative_slope: 0.1"], []),
        ("set", "/steps", "7", ["epochs: 30  # or steps"], ["steps: 7"]),
        ("set", "/privacy/delta", "1e-5", ["privacy:"], ["privacy: {delta: 1e-5}"]),
        (
            "kind",
            "/model/layers/0",
            "dropout",
            ["    - {kind: linear, out_features: 64}  # wide"],
            ["    - {kind: dropout}  # wide"],
        ),
        (
            "kind",
            "/optimizer",
            "adam",
            ["optimizer: {kind: sgd, learning_rate: 1e-1, momentum: 0.9}  # fast"],
            ["optimizer: {kind: adam, learning_rate: 1e-1}  # fast"],
        ),
        ("add", "/model/layers", "tanh", [], ["    - {kind: tanh}"]),
        ("remove", "/model/layers/2", "", ["    - {kind: linear, out_features: 10}"], []),
        ("word", "/shortcuts", "mean_example", [], ["shortcuts: [mean_example]"]),
        ("remove", "/epochs", "", ["epochs: 30  # or steps"], []),
    ],
)
def test_a_change_of_a_field_changes_its_line_alone(
    action: str, pointer: str, value: str, gone: list[str], new: list[str]
) -> None:
    assert changed_lines(TEXT, change(TEXT, action, pointer, value)) == (gone, new)


def test_a_new_key_stands_where_the_contract_has_it() -> None:
    assert "\nprivacy:\nbatch_size: 8\nepochs: 30" in change(TEXT, "set", "/batch_size", "8")
    made = change(TEXT, "set", "/optimizer/weight_decay", "0.1")
    assert "momentum: 0.9, weight_decay: 0.1}" in made
    assert "momentum: 0.9, nesterov: true, weight_decay" in change(
        made, "set", "/optimizer/nesterov", "true"
    )


def test_items_move_with_their_comments() -> None:
    made = change(TEXT, "up", "/model/layers/1", "")
    assert (
        """\
    # hidden
    # its activation
    - kind: leaky_relu
      negative_slope: 0.1
    - {kind: linear, out_features: 64}  # wide
    - {kind: linear, out_features: 10}
"""
        in made
    )
    assert change(made, "down", "/model/layers/0", "").split() != made.split()
    with pytest.raises(RefusedEditError, match="end of the list"):
        change(TEXT, "down", "/model/layers/2", "")


@pytest.mark.parametrize("text", ['{"name": "a", "model": {"layers": []}}', "name: a\n", ""])
def test_any_layout_can_be_changed(text: str) -> None:
    for action, pointer, value in [
        ("set", "/epochs", "3"),
        ("add", "/model/layers", "relu"),
        ("add", "/model/layers", "linear"),
        ("up", "/model/layers/1", ""),
        ("remove", "/model/layers/1", ""),
        ("add", "/validation", ""),
        ("set", "/validation/stratify", "false"),
        ("remove", "/validation", ""),
    ]:
        text = change(text, action, pointer, value)
    found = parse_yaml(text)
    assert found.pop("name", "a") == "a"
    assert found == {"epochs": 3, "model": {"layers": [{"kind": "linear", "out_features": 64}]}}


def test_the_model_becomes_a_module_and_layers_again() -> None:
    made = change(TEXT, "model", "/model", "torch")
    assert parse_yaml(made)["model"] == {"torch": "package.module:function"}
    again = change(made, "model", "/model", "layers")
    assert [one["kind"] for one in parse_yaml(again)["model"]["layers"]] == [
        "linear",
        "relu",
        "linear",
    ]


@pytest.mark.parametrize(
    ("text", "action", "pointer", "value", "expected"),
    [
        (TEXT, "set", "/workers", "[1,", "is not valid YAML"),
        (TEXT, "fly", "/name", "", "no action"),
        (TEXT, "model", "/model", "none", "no model"),
        (TEXT, "kind", "/optimizer", "none", "no kind"),
        (TEXT, "add", "/model/layers", "none", "no kind"),
        (TEXT, "add", "/model/none", "", "no 'none' there"),
        (TEXT, "kind", "/model/layers/3", "relu", "no item 3 of 'layers'"),
        (TEXT, "set", "/model/layers/9/out_features", "1", "no 'out_features' there"),
        (TEXT, "up", "/name", "", "no item"),
        (TEXT, "up", "/model/layers/x", "", "no 'x' there"),
        (TEXT, "set", "/a" * 10_000, "1", "no 'a' there"),
        (TEXT, "remove", "/model/layers/" + "9" * 5000, "", "there: reload"),
        (TEXT, "set", "", "x", "without a key"),
        (TEXT, "remove", "/model/layers/9", "", ""),
        ("a: &x {torch: k}\nmodel: *x\n", "set", "/model/torch", "b", "edit the YAML"),
        ("[1]", "set", "/name", "x", "edit the YAML"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_nothing_else_changes(
    text: str, action: str, pointer: str, value: str, expected: str
) -> None:
    try:
        assert change(text, action, pointer, value) == text
    except RefusedEditError as refused:
        assert expected in str(refused)  # noqa: PT017 - one of the two


@pytest.mark.parametrize("text", [TEXT, "model: {layers: []}", "name: a\n"])
@pytest.mark.parametrize("action", ["set", "remove", "add", "kind", "word", "up", "down", "model"])
def test_no_action_on_an_item_that_is_gone_changes_the_list(text: str, action: str) -> None:
    for pointer in ("/model/layers/3", "/model/layers/999999999", "/optimizer/groups/0"):
        for value in ("relu", "layers", "{kind: relu}"):
            with contextlib.suppress(RefusedEditError):
                assert change(text, action, pointer, value) == text


def test_another_kind_keeps_keys_that_no_kind_has() -> None:
    unknown = ", ".join(f"k{at}: 1" for at in range(300))
    text = f"optimizer: {{kind: sgd, learning_rate: 0.1, momentum: 0.9, {unknown}}}"
    made = f"optimizer: {{kind: adam, learning_rate: 0.1, {unknown}}}"
    with patch.object(edits, "parse_yaml", wraps=parse_yaml) as parsed:
        assert change(text, "kind", "/optimizer", "adam") == made
    assert parsed.call_count < 20
