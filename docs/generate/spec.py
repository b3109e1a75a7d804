"""The reference of a job's spec: keys, layers, losses, optimizers, schedules, step figures."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from batchgrad import contract
from batchgrad.display.formulas import ACCURACY, LOSS_SCALE
from docs.generate.markdown import fields, table


def spec() -> str:
    """The page's generated part."""
    return "\n\n".join(
        [
            "## Keys",
            "Exactly one of `epochs` and `steps` is required.",
            fields(contract.JobSpec),
            *_objects(contract.JobSpec),
            *_objects(contract.Privacy),
            "## Layers",
            "Numbered from 0, as in `torch.nn.Sequential`.",
            *_kinds(contract.LAYERS),
            "## Losses",
            LOSS_SCALE,
            _losses(),
            ACCURACY,
            "## Optimizers",
            *_kinds(contract.OPTIMIZERS),
            "### `groups`",
            inspect.getdoc(contract.ParameterGroup) or "",
            fields(contract.ParameterGroup),
            "## Schedules",
            "The learning rate of a step, `optimizer.schedule`.",
            *_kinds(contract.SCHEDULES),
            "## Figures of a step",
            "Measured at every step. A gap is the relative error of a shortcut's gradient.",
            table(
                ("figure", "label", "what"),
                (
                    (f"`{figure.name}`", figure.label, figure.text)
                    for figure in contract.FIGURES.values()
                ),
            ),
            "## Figures of an evaluation",
            "Measured on the validation examples after each epoch.",
            table(
                ("figure", "label", "what"),
                (
                    (f"`{name}`", figure.label, figure.help)
                    for name, figure in contract.VALIDATION_FIGURES.items()
                ),
            ),
        ]
    )


def gradients() -> str:
    """The keys of a request for the gradient of one minibatch."""
    return fields(contract.GradientsRequest)


def _objects(model: type[BaseModel]) -> Iterator[str]:
    """A section for each field of `model` that has keys of its own, but no kinds."""
    for name, field in model.model_fields.items():
        members = get_args(field.annotation) or (field.annotation,)
        for member in filter(_has_keys, members):
            yield f"### `{name}`"
            yield inspect.getdoc(member) or ""
            yield fields(member)


def _has_keys(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel) and "kind" not in kind.model_fields


def _losses() -> str:
    rows = [
        (f"`{name}`", kind.formula, f"{kind.target_shape}: {kind.targets}")
        for name, kind in contract.LOSSES.items()
    ]
    return table(("loss", "of one example", "targets"), rows)


def _kinds(models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    for kind, model in models.items():
        yield f"### `{kind}`"
        yield inspect.getdoc(model) or ""
        yield fields(model)
