"""Spec files: how they are read, and how their mistakes are reported."""

import base64
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from batchgrad.errors import InvalidSpec
from batchgrad.parsing.spec_files import load_gradients, load_job

YAML = """\
name: digits
dataset: digits
model:
  layers:
    - {kind: linear, out_features: 64}
    - kind: relu
    - {kind: linear, out_features: 10}
loss: softmax_cross_entropy
optimizer: {kind: sgd, learning_rate: 1e-1, momentum: 0.9}
batch_size: 256
epochs: 3
"""


def write(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_yaml_and_json_give_the_same_spec(kit: Any, tmp_path: Path) -> None:
    spec = load_job(write(tmp_path, YAML))
    assert (spec.optimizer.learning_rate, spec.epochs) == (0.1, 3)
    as_json = spec.model_dump_json(exclude_unset=True)
    assert load_job(write(tmp_path, as_json, "spec.json")) == spec


def test_overrides_reach_into_the_spec(tmp_path: Path) -> None:
    overrides = [
        "optimizer.learning_rate=0.5",
        "model.layers.0.out_features=3",
        "labels.team=a",
        "workers={min: 1, max: 2}",
    ]
    spec = load_job(write(tmp_path, YAML), overrides)
    dumped = spec.model_dump(exclude_unset=True)
    assert dumped["optimizer"]["learning_rate"] == 0.5
    assert dumped["model"]["layers"][0]["out_features"] == 3
    assert dumped["labels"] == {"team": "a"}
    assert dumped["workers"] == {"min": 1, "max": 2}


@pytest.mark.parametrize("override", ["seed", "=1", "model.layers.9=1", "model.layers.x.kind=1"])
def test_an_override_that_fits_nowhere_is_named(tmp_path: Path, override: str) -> None:
    with pytest.raises(InvalidSpec, match=re.escape(override)):
        load_job(write(tmp_path, YAML), [override])


@pytest.mark.parametrize(
    ("old", "new", "pointer", "message"),
    [
        ("kind: relu", "kind: rleu", "/model/layers/1/kind", "got 'rleu'; expected one of"),
        ("out_features: 10", "out_features: 0", "/model/layers/2/out_features", "got 0; "),
        ("batch_size: 256", "batchsize: 256", "/batchsize", "did you mean batch_size?"),
        ("batch_size: 256", "batchsize: 256", "/batch_size", "is required: add it."),
        ("epochs: 3", "steps: 0", "/steps", "got 0; expected at least 1."),
        ("learning_rate: 1e-1", "lr: 1", "/optimizer/lr", "did you mean learning_rate?"),
        ("kind: relu", "{kind: relu, slope: 1}", "/model/layers/1/slope", "use one of kind."),
        (
            "epochs: 3",
            "learning_rate: 1",
            "/learning_rate",
            "did you mean optimizer.learning_rate?",
        ),
        ("epochs: 3", "lr: 1", "/lr", "did you mean optimizer.learning_rate?"),
        ("epochs: 3", "weight_decy: 1", "/weight_decy", "did you mean optimizer.weight_decay?"),
        ("epochs: 3", "warmup_steps: 1", "/warmup_steps", "optimizer.schedule.warmup_steps?"),
        ("epochs: 3", "weights: [1]", "/weights", "weights belong in the dataset's npz."),
        ("epochs: 3", "per_example: true", "/per_example", "max_restarts."),
        (
            "out_features: 10",
            "out_features: 10, in_features: 7",
            "/model/layers/2/in_features",
            "remove it; it follows from the data",
        ),
        ("epochs: 3", "", "", "give exactly one"),
        ("kind: relu", "kind: batch_norm2d", "/model/layers/1", "mixes the examples"),
        ("epochs: 3", "epochs: 3\nworkers: many", "/workers", "got 'many'; "),
    ],
)
def test_mistakes_are_named_by_key(
    tmp_path: Path, old: str, new: str, pointer: str, message: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        load_job(write(tmp_path, YAML.replace(old, new)))
    details = {error.pointer: error.detail for error in caught.value.errors}
    assert message in details[pointer]


def test_mistakes_in_yaml_are_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"/model/layers/1/kind: .* \(line 6\)"):
        load_job(write(tmp_path, YAML.replace("kind: relu", "kind: rleu")))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "spec.yaml",
            "a: 1\nname: [",
            r"spec.yaml is not valid YAML: .*stream end.* at line 2, column 8\.$",
        ),
        ("spec.yaml", "name: \x00", "spec.yaml is not valid YAML: [^<]*special characters"),
        ("spec.json", "{'name': 1}", r"spec.json is not valid JSON: .* at line 1, column 2\.$"),
        ("spec.yaml", "- 1", "contains list"),
        ("spec.yaml", "", "contains NoneType"),
    ],
)
def test_files_without_a_spec(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        load_job(write(tmp_path, text, name))
    with pytest.raises(InvalidSpec, match="cannot be read"):
        load_job(tmp_path / "missing.yaml")


def test_an_npz_of_parameters_is_sent_as_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "theta.bin", "w") as archive:
        archive.writestr("0.weight.npy", b"theta")
    text = YAML + "initial_parameters: {file: theta.bin, standardization: keep}\n"
    start = load_job(write(tmp_path, text + "standardize: true\n")).initial_parameters
    assert start is not None
    assert start.npz == base64.b64encode((tmp_path / "theta.bin").read_bytes()).decode()
    assert (start.safetensors, start.standardization) == (None, "keep")
    with pytest.raises(InvalidSpec, match="keep, standardize is false: set standardize: true"):
        load_job(write(tmp_path, text))


def test_initial_parameters_are_read_from_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "theta.safetensors").write_bytes(b"\x00theta")
    text = YAML + "initial_parameters: {file: theta.safetensors}\n"
    start = load_job(write(tmp_path, text)).initial_parameters
    assert start is not None
    assert start.safetensors == base64.b64encode(b"\x00theta").decode()
    with pytest.raises(InvalidSpec, match=r"initial_parameters.file is 'other'"):
        load_job(write(tmp_path, YAML + "initial_parameters: {file: other}\n"))
    with pytest.raises(InvalidSpec, match="safetensors and digest: give exactly one"):
        load_job(write(tmp_path, text.replace("}\n", f", digest: 'sha256:{'0' * 64}'}}\n")))


def test_a_gradients_request_is_a_file_too(tmp_path: Path) -> None:
    request = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "inputs": [[1.0], [2.0]],
        "targets": [1.0, 2.0],
    }
    loaded = load_gradients(write(tmp_path, json.dumps(request), "minibatch.json"))
    assert loaded.inputs == [[1.0], [2.0]]
    with pytest.raises(InvalidSpec) as caught:
        load_gradients(write(tmp_path, json.dumps(request | {"update": "averaged_error"})))
    [error] = caught.value.errors
    assert "unknown key 'update': remove it, or use one of model, loss, inputs," in error.detail


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: relu", "kind: ReLU", "did you mean relu?"),
        ("kind: relu", "kind: nn.LeakyReLU", "did you mean leaky_relu?"),
        ("kind: relu", "kind: rleu", "did you mean relu?"),
        ("kind: linear", "kind: dense", "did you mean linear?"),
        ("kind: linear", "kind: Conv2d", "did you mean conv2d?"),
        ("kind: relu", "kind: MaxPooling2D", "did you mean max_pool2d?"),
        ("kind: relu", "kind: softmax", "softmax_cross_entropy includes it"),
        ("kind: relu", "kind: nn.Dropout", "did you mean dropout?"),
        (
            "kind: relu",
            "{kind: residual, layers: [{kind: linear, outfeatures: 64}]}",
            "did you mean out_features?",
        ),
        ("kind: relu", "{kind: residual, layers: [{kind: ReLU}]}", "did you mean relu?"),
        ("kind: relu", "kind: transformer", "expected one of linear, conv1d, conv2d"),
        ("kind: sgd", "kind: Adam", "did you mean adam?"),
        ("kind: sgd", "kind: nothing", "expected one of sgd, adam"),
        ("softmax_cross_entropy", "cross_entropy", "did you mean softmax_cross_entropy?"),
        ("softmax_cross_entropy", "softmax", "did you mean softmax_cross_entropy?"),
        ("softmax_cross_entropy", "CrossEntropyLoss", "did you mean softmax_cross_entropy?"),
        ("softmax_cross_entropy", "MSE", "did you mean squared_error?"),
        ("softmax_cross_entropy", "BCEWithLogitsLoss", "did you mean sigmoid_cross_entropy?"),
        ("epochs: 3", "epochs: 3\nprecision: double", "did you mean float64?"),
        ("epochs: 3", "epochs: 3\nupdate: mean-gradient", "did you mean mean_gradient?"),
        ("batch_size", "batchSize", "did you mean batch_size?"),
        ("out_features: 64", "units: 64", "did you mean out_features?"),
        ("epochs: 3", "num_epochs: 3", "did you mean epochs?"),
        ("epochs: 3", "learningRate: 3", "did you mean optimizer.learning_rate?"),
    ],
)
def test_names_of_other_libraries_get_a_suggestion(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = YAML.replace(old, new, 1)
    assert text != YAML
    with pytest.raises(InvalidSpec) as caught:
        load_job(write(tmp_path, text))
    assert any(message in error.detail for error in caught.value.errors), str(caught.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("privacy.eps=1", "unknown key 'eps': did you mean epsilon?"),
        ("privacy.max_grad_norm=1", "did you mean clip_norm?"),
        ("privacy.sigma=1", "did you mean noise_multiplier?"),
        ("privacy.person=1", "use one of delta, epsilon, noise_multiplier, clip_norm"),
        ("privacy.report.bound=1", "use one of loss_bound, share."),
        ("validation.part=1", "use one of fraction, dataset, rows, stratify, by_unit."),
        ("optimizer.groups=[{rate: 1}]", "use one of match, learning_rate, weight_decay."),
        ("epsilon=2", "did you mean privacy.epsilon?"),
        ("clip_norm=2", "did you mean optimizer.clip_norm?"),
        ("differential_privacy={}", "did you mean privacy?"),
    ],
)
def test_an_unknown_key_is_told_the_keys_of_its_own_place(
    key: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        load_job(write(tmp_path, YAML), [key])
    assert message in " ".join(error.detail for error in caught.value.errors)
