"""References at the end of helps, read from the contract: keys of specs, layers, losses."""

from collections.abc import Iterator, Mapping
from textwrap import wrap

from pydantic import BaseModel

from batchgrad import contract
from batchgrad.display import schema_fields
from batchgrad.display.formulas import ACCURACY, CONVENTIONS, LOSS_SCALE

WIDTH = 96
COLUMN = 22
"""Width of the names; a longer name has a line of its own."""

REQUEST_EXAMPLE = """\
  model: {layers: [{kind: linear, out_features: 1}, {kind: sigmoid}]}
  loss: linear_error
  inputs: [[0], [1]]
  targets: [0, 0]
  parameters: {0.weight: [[1]], 0.bias: [0]}
"""


def job_spec() -> str:
    """The keys of SPEC."""
    return "\n".join(
        [
            "Keys of SPEC; those marked * are required, and exactly one of epochs and steps:",
            *_keys(contract.JobSpec),
            "",
            "Keys of privacy, which makes the parameters differentially private; epsilon,",
            "noise_multiplier or both are required:",
            *_keys(contract.Privacy),
            "Keys of privacy.report:",
            *_keys(contract.LossReport),
            "",
            "Layers, {kind: KIND, …}, numbered from 0 as in torch.nn.Sequential; [default]:",
            *_kinds(contract.LAYERS),
            *_losses(),
            "",
            *wrap(ACCURACY, WIDTH),
            "",
            "Optimizers, {kind: KIND, …}; clip_norm scales G down to this norm; [default]:",
            *_kinds(contract.OPTIMIZERS),
            "",
            *wrap(
                "Schedules, optimizer.schedule; of warmup_steps W step t has t/W of the rate, a "
                "cosine's last step a little over final_fraction; [default]:",
                WIDTH,
            ),
            *_kinds(contract.SCHEDULES),
            "",
            CONVENTIONS,
            "",
        ]
    )


def gradients_request() -> str:
    """The keys of REQUEST, with an example."""
    return "\n".join(
        [
            "Keys of REQUEST; those marked * are required:",
            *_keys(contract.GradientsRequest),
            "",
            *wrap(
                "Layers, {kind: KIND, …}: "
                + ", ".join(contract.LAYERS)
                + ". `batchgrad submit --help` lists the keys of each.",
                WIDTH,
            ),
            *_losses(),
            "",
            "Example: one neuron, two examples",
            REQUEST_EXAMPLE,
        ]
    )


def step_figures() -> str:
    """The figures of a step, and what each is."""
    lines = ["Figures of a step; a gap is the relative error of a shortcut's gradient:"]
    for figure in contract.FIGURES.values():
        lines += _hanging(figure.label, figure.text)
    return "\n".join([*lines, ""])


def _losses() -> Iterator[str]:
    yield from ("", *wrap(f"Losses. {LOSS_SCALE}", WIDTH))
    yield from (f"  {name:<{COLUMN}}  {kind.formula}" for name, kind in contract.LOSSES.items())


def _keys(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    for field in schema_fields.fields(schema, schema.get("$defs", {})):
        name = f"{field.name}*" if field.default is None else field.name
        more = [] if field.default in {None, "none"} else [f"default {field.default}"]
        about = "; ".join(filter(None, [field.takes, field.about, *more]))
        yield from _hanging(name, about)


def _kinds(models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    for kind, model in models.items():
        schema = model.model_json_schema()
        keys = [
            f"{field.name}*: {field.takes}"
            if field.default is None
            else f"{field.name}: {field.takes} [{field.default}]"
            for field in schema_fields.fields(schema, schema.get("$defs", {}))
        ]
        yield from _hanging(kind, "; ".join(keys))


def _hanging(name: str, text: str) -> list[str]:
    indent = " " * (COLUMN + 4)
    lines = wrap(text, WIDTH - len(indent)) or [""]
    if len(name) > COLUMN:
        return [f"  {name}", *(indent + line for line in lines)]
    return [f"  {name:<{COLUMN}}  {lines[0]}".rstrip(), *(indent + line for line in lines[1:])]
