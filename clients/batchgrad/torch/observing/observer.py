"""An observer of a user's own training loop."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.html import document
from batchgrad.notebook.frames import Library, check_library, frame
from batchgrad.torch.observing import engine
from batchgrad.torch.observing.gap import Gap
from batchgrad.torch.observing.reasons import check_length, left_out, missing
from batchgrad.torch.observing.step import Reduction, Step, own_norms
from batchgrad.torch.observing.suspects import Examples, Order, Suspect
from batchgrad.user_warnings import warn_user

SPREADING = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
CHECK_EVERY = 100
"""Steps between checks that the formulas account for all of each gradient."""
SHOWN = 10


def observe(
    module: nn.Module,
    *,
    reduction: Reduction = "mean",
    axis: int = 0,
    every: int = 1,
    gap_every: int | None = 10,
    scaler: Any = None,
) -> "Observer":
    """An observer of the steps in which a loop trains `module`; it changes no bit of training.

    `reduction` says how a step's loss is made of its examples' losses: their mean or their sum.
    The loss of several backward passes in one step is divided by their number if it is a mean. The
    examples lie along `axis` of the module's arguments. Of each `every`-th step there are figures,
    the others cost nothing, and of each `gap_every`-th of these there is a gap of the shortcut
    averaged_error; None: of none. `scaler` is the torch.amp.GradScaler of the loop, if it has one.

    Raises:
        InvalidArgument: an argument is not valid, or the module has a BatchNorm in training mode.
    """
    if not isinstance(module, nn.Module):
        raise InvalidArgument(f"observe got {type(module).__name__}; expected a torch.nn.Module.")
    if type(module).__name__ in SPREADING or type(module).__name__ == "OptimizedModule":
        raise InvalidArgument(
            f"observe can't see into {type(module).__name__}: train the module itself in one "
            "process, not compiled."
        )
    if reduction not in get_args(Reduction):
        raise InvalidArgument(f"reduction is {reduction!r}; expected 'mean' or 'sum'.")
    given = ("axis", axis, 0), ("every", every, 1), ("gap_every", gap_every, 1)
    for name, value, least in given:
        if name == "gap_every" and value is None:
            continue
        if not isinstance(value, int) or value < least:
            raise InvalidArgument(f"{name} is {value!r}; expected an integer from {least} on.")
    return Observer(module, reduction, axis, every, gap_every, scaler)


class Observer:
    """Figures of the steps of a loop: `with observer.step(ids=ids) as step:` around each."""

    def __init__(
        self,
        module: nn.Module,
        reduction: Reduction,
        axis: int,
        every: int,
        gap_every: int | None,
        scaler: Any,
    ) -> None:
        """See `observe`."""
        self.module, self.reduction, self.every, self.gap_every = (
            module,
            reduction,
            every,
            gap_every,
        )
        self.history: list[dict[str, Any]] = []
        """A row of figures for each observed step."""
        self._scaler = scaler
        self._watch = engine.watching().Watch(module, axis)
        self._noise = engine.statistics().SmoothedNoise()
        self._examples = Examples()
        self._steps = self._largest = 0
        self._visit: Any = None
        self._gap: Gap | None = None
        self._told: set[str] = set()
        self._check_norms()

    def step(
        self,
        ids: Any = None,
        *,
        weights: Sequence[float] | Tensor | None = None,
    ) -> Step:
        """A context for one step: forward pass, loss.backward(), update.

        `ids` (n,), a sequence, array or tensor, name the examples; without them an example is
        known as (step, place in the batch). With `weights` (n,) the loss is
        Σ w ℓ / Σ w, or Σ w ℓ for the reduction "sum".

        Raises:
            InvalidArgument: at its end, if there is not one id and one weight for each example;
                inside, where the module's forward pass mixes examples.
        """
        self._steps += 1
        named: Any = ids.tolist() if hasattr(ids, "tolist") else ids
        heavy = None if weights is None else torch.as_tensor(weights).detach().double().cpu()
        return Step(self, self._steps, named, heavy)

    @property
    def uncovered(self) -> list[str]:
        """Names of trainable parameters that the norms leave out."""
        return sorted(self._watch.uncovered.values())

    def suspects(self, count: int = 10, order: Order = "mean_norm") -> list[Suspect]:
        """The examples with the largest norms or losses over all steps, the largest first.

        Raises:
            InvalidArgument: there is no such order.
        """
        return self._examples.largest(count, order)

    def frame(self, library: Library | None = None) -> Any:
        """The history as a data frame of pandas or polars: which is loaded, or installed.

        Raises:
            Unavailable: neither is installed.
        """
        names = dict.fromkeys(name for row in self.history for name in row)
        columns = {name: [row.get(name) for row in self.history] for name in names}
        return frame(columns, check_library(library))

    def _repr_html_(self) -> str:
        fields = ("example", "times_seen", "mean_loss", "mean_norm", "last_loss", "last_norm")
        suspects = [
            {
                name: str(each.example) if name == "example" else getattr(each, name)
                for name in fields
            }
            for each in self.suspects(SHOWN)
        ]
        last = dict(self.history[-1]) if self.history else {}
        layers = []
        if self._gap is not None:
            shown = self._gap.row()
            last = {k: v for k, v in last.items() if k not in shown}
            last.update({k: v for k, v in shown.items() if "." not in k})
            layers = self._gap.table()
        tables = {"left_out": self.uncovered, "gap_by_layer": layers, "suspects": suspects}
        return document(f"{type(self.module).__name__}, observed", {**last, **tables})

    def begin(self, step: Step) -> None:
        """Begin to observe; `Step` calls it."""
        if self._visit is not None:
            raise InvalidArgument("A step of this observer has not ended; steps can't be nested.")
        if (step.number - 1) % self.every:
            step.missing = step.gap_missing = f"every {self.every}th step is observed"
            return
        self._check_norms()
        names = {id(each): name for name, each in self.module.named_parameters()}
        check = len(self.history) % CHECK_EVERY == 0
        shortcut = None
        if self.gap_every is not None and len(self.history) % self.gap_every == 0:
            summed = self.reduction == "sum"
            shortcut = engine.shortcut().Shortcut(names, step.weights, summed=summed)
        else:
            step.gap_missing = f"gap_every is {self.gap_every}"
        self._visit = engine.watching().Visit(self._watch, names, check, shortcut)
        self._visit.taps.scaler = self._scaler
        self._visit.__enter__()

    def end(self, step: Step, *, failed: bool) -> None:
        """Compute the figures, unless the step failed; `Step` calls it."""
        visit, self._visit = self._visit, None
        if visit is None:
            return
        visit.__exit__(None, None, None)
        if failed:
            return
        squares = [group.squares for group in visit.taps.groups]
        step.missing = missing(visit, squares)
        if step.missing is None:
            norms = [each for each in squares if each is not None]
            self._fill(step, norms, visit.taps.gradient_norm, visit.taps.scale)
            shortcut = visit.shortcut
            if shortcut is not None:
                step.gap, step.gap_missing = shortcut.gap, shortcut.missing
                self._gap = step.gap or self._gap
        else:
            step.gap_missing = step.missing
            self._tell(f"Step {step.number} has no figures: {step.missing}.", step.missing)
        if self.uncovered and step.missing is None:
            self._tell(left_out(self.uncovered), "uncovered")
        self.history.append(step.row())

    def _fill(self, step: Step, squares: list[Tensor], gradient_norm: float, scale: float) -> None:
        n = sum(map(len, squares))
        check_length("ids", step.ids, n)
        check_length("weights", step.weights, n)
        check_length("losses", step.losses, n)
        norms = own_norms(squares, step.weights, self.reduction, scale)
        total = float(n if step.weights is None else step.weights.sum())
        length = gradient_norm / scale / (total if self.reduction == "sum" else 1.0)
        step.norms, step.gradient_norm = norms, length
        self._measure(step, norms, length)
        losses = None if step.losses is None else step.losses.tolist()
        self._examples.add(step.number, step.ids, norms.tolist(), losses)

    def _measure(self, step: Step, norms: Tensor, length: float) -> None:
        """Noise scale, norm test, quantiles and histogram, as a service has them."""
        known, n = engine.statistics(), len(norms)
        weights = torch.ones(n, dtype=torch.float64) if step.weights is None else step.weights
        noise = known.noise_scale(norms.numpy(), weights.numpy(), length)
        step.noise_trace, step.noise_signal = noise.trace, noise.signal
        self._largest = max(self._largest, n)
        step.noise_scale = self._noise.add(noise, n / self._largest).simple
        test = known.norm_test(noise.trace, n, length)
        step.norm_test_ratio, step.norm_test_batch_size = test["ratio"], test["batch_size"]
        own = norms[~norms.isnan()]
        quantiles = known.quantiles(own.sort().values[None].numpy())
        step.quantiles = {name: value for name, (value,) in quantiles.items()}
        step.histogram = known.histograms(own[None].numpy())[0].tolist()

    def _check_norms(self) -> None:
        names = self._watch.norms()
        if names:
            raise InvalidArgument(
                f"{', '.join(names)}: BatchNorm in training mode mixes the examples of a batch, so "
                "single examples have no gradients: use GroupNorm, or set it to evaluation mode."
            )

    def _tell(self, text: str, key: str) -> None:
        """Warn once."""
        if key not in self._told:
            self._told.add(key)
            warn_user(text)
