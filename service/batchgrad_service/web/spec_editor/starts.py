"""Specs to start from, for the datasets that there are."""

from collections.abc import Callable, Sequence

from batchgrad.contract import Dataset
from batchgrad_service.web.spec_editor.writing import written

_LAYERS = """\
name: {name}
dataset: {dataset}
model:
  layers:
    - {{kind: linear, out_features: 64}}
    - {{kind: relu}}
    - {{kind: linear, out_features: {outputs}}}
loss: {loss}
optimizer: {{kind: sgd, learning_rate: 0.1, momentum: 0.9}}
batch_size: 256            # N, the examples in a minibatch
epochs: 30                 # or steps
validation_fraction: 0.2
standardize: true
"""
_TABLE = """\
name: {name}
dataset: {dataset}         # batchgrad datasets push NAME table.csv --target COLUMN
model:
  layers:
    - {{kind: linear, out_features: 16}}
    - {{kind: relu}}
    - {{kind: linear, out_features: {outputs}}}
loss: {loss}
optimizer: {{kind: adam, learning_rate: 0.01}}
batch_size: 64
epochs: 20
validation: {{fraction: 0.2{stratify}}}
early_stopping: {{patience: 5}}
standardize: true          # numbers and dates; one-hot inputs stay 0 and 1
"""
_MODULE = """\
name: {name}
dataset: {dataset}
model:
  torch: package.module:function   # returns a batchgrad.torch Task
  config: {{width: 32}}              # its argument
optimizer:
  kind: adamw
  learning_rate: 0.003
  schedule: {{kind: cosine, warmup_steps: 10}}
batch_size: 32
epochs: 8
validation_fraction: 0.2
"""
_PRIVATE = """\
name: {name}
dataset: {dataset}
model:
  layers:
    - {{kind: linear, out_features: 64}}
    - {{kind: tanh}}
    - {{kind: linear, out_features: {outputs}}}
loss: {loss}
optimizer: {{kind: sgd, learning_rate: 0.5}}
batch_size: 256
epochs: 30
validation_fraction: 0.2
privacy:
  epsilon: 2               # the budget
  delta: 1e-5              # below 1 / training examples
  clip_norm: 0.5           # the most that one example's gradient counts
  validation: public       # the rows held out are not protected
"""


def _has_targets(dataset: Dataset) -> bool:
    return dataset.target_kind is not None


def _is_table(dataset: Dataset) -> bool:
    return dataset.table is not None and dataset.target_kind is not None


_STARTS: dict[str, tuple[str, str, Callable[[Dataset], bool], str]] = {
    "layers": ("Layers", _LAYERS, _has_targets, "digits"),
    "table": ("A table", _TABLE, _is_table, "customers"),
    "module": ("A PyTorch module", _MODULE, lambda _: True, "digits"),
    "private": ("A private job", _PRIVATE, _has_targets, "digits"),
}
TITLES = {name: title for name, (title, *_) in _STARTS.items()}
"""What the page calls each."""


def start(name: str, datasets: Sequence[Dataset]) -> str:
    """A spec, for the first dataset that it can be trained on; of layers if `name` is unknown."""
    _, text, fits, placeholder = _STARTS.get(name, _STARTS["layers"])
    known = next((dataset for dataset in datasets if fits(dataset)), None)
    classes = known is None or known.target_kind == "classes"
    return text.format(
        name="first" if name not in _STARTS or name == "layers" else name,
        dataset=written(known.name if known else placeholder),
        outputs=(known.classes if known else None) or (10 if classes else 1),
        loss="softmax_cross_entropy" if classes else "squared_error",
        stratify=", stratify: true" if classes else "",
    )
