"""One forward pass of a replica, watched: its calls, what it draws, and what each module gave."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from batchgrad_workers.torch.dropout.drawing import Draw, Drawing, Exploring, drawing
from batchgrad_workers.torch.preflight.forms import check_losses, check_outputs
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.user_code.errors import message_of

LOOKING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
LOOKING_TOO = {"topk", "_pack_padded_sequence"}
"""Operations whose results choose rows, beside those that torch tags."""

CHECKING = {"gaussian_nll_loss", "one_hot"}
"""Functions that read numbers only to refuse wrong ones."""

READING = {"tolist", "numpy", "__array__", "__dlpack__", "data_ptr"}
"""Functions that hand numbers to Python, past torch's dispatcher."""


@dataclass(frozen=True)
class Given:
    """A module's call: its name, who called it (None: no module), its tensors in and out."""

    name: str
    kind: str
    caller: str | None
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass
class Run:
    """What was seen of a forward pass; `outputs` and `losses` have their graph.

    `looks` names operations by which it decided from data, `random` those that drew from a
    generator, each with its module; `functions` are all calls in order. `decisions` are yes or no,
    from whole numbers alone, as whether a mask leaves anything out: where, and the outcome.
    """

    outputs: Any = None
    losses: Any = None
    modules: list[Given] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    decisions: list[tuple[str, bool]] = field(default_factory=list)
    random: list[str] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)


def tensors(found: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    return [each for each in tree_leaves(found) if isinstance(each, Tensor)]


class Modules:
    """Which module runs now, and what each gave; hooks on a module."""

    def __init__(self, found: list[Given], *, keep: bool) -> None:
        self.found, self.keep = found, keep
        self.checking = False
        self.stack: list[str] = []

    @property
    def here(self) -> str:
        """Words for the place that runs now."""
        if not self.stack:
            return "outside of the module"
        return f"in module {self.stack[-1]}" if self.stack[-1] else "in the whole module"

    @contextmanager
    def following(self, module: nn.Module) -> Iterator[None]:
        """Follow each module in `module` while this lasts."""
        hooks = []
        for name, each in module.named_modules():
            if isinstance(each, torch.jit.ScriptModule):
                continue  # it takes no hooks
            hooks.append(each.register_forward_pre_hook(self._entering(name)))
            hooks.append(each.register_forward_hook(self._leaving(name), with_kwargs=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _entering(self, name: str) -> Any:
        return lambda *_: self.stack.append(name)

    def _leaving(self, name: str) -> Any:
        def left(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            self.stack.pop()
            if not self.keep:
                return
            caller = self.stack[-1] if self.stack else None
            inputs, given = tensors((args, kwargs)), tensors(outputs)
            kept = [[each.detach().clone() for each in group] for group in (inputs, given)]
            self.found.append(Given(name, type(module).__name__, caller, *kept))

        return left


class Functions(TorchFunctionMode):  # type: ignore[misc]  # torch is not there for mypy
    """Note each function of torch that is called, and those that hand numbers to Python."""

    def __init__(self, run: Run, modules: Modules, data: "WeakTensorKeyDictionary") -> None:
        super().__init__()
        self.run, self.modules, self.data = run, modules, data

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of `func`."""
        name = getattr(func, "__name__", str(func))
        if name != "__get__":
            self.run.functions.append(name)
        if name in READING and any(each in self.data for each in tensors(args)):
            self.run.looks.append(f"{name} {self.modules.here}")
        given = kwargs or {}
        sized = args[1:] or "num_classes" in given  # else one_hot's width follows from the data
        self.modules.checking = name in CHECKING and bool(sized)
        try:
            return func(*args, **given)
        finally:
            self.modules.checking = False


class Operations(TorchDispatchMode):  # type: ignore[misc]
    """Follow the batch's numbers through all operations; note who looks at them, and who draws."""

    def __init__(self, run: Run, modules: Modules, data: "WeakTensorKeyDictionary") -> None:
        super().__init__()
        self.run, self.modules, self.data = run, modules, data

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer torch: if it is true, the first operation imports the compiler, for seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of the operation `func`."""
        given = kwargs or {}
        name = func.__name__.partition(".")[0]
        known = [self.data[each] for each in tensors((args, given)) if each in self.data]
        follows, floating = bool(known), any(known)
        if torch.Tag.nondeterministic_seeded in func.tags and given.get("generator") is None:
            self.run.random.append(f"{name} {self.modules.here}")
        found = func(*args, **given)
        if follows:
            for each in tensors(found):
                self.data[each] = floating or each.is_floating_point()
            self._note(name, func, args, found, floating)
        return found

    def _note(self, name: str, func: Any, args: Any, found: Any, floating: bool) -> None:
        """Note an operation that looks at data."""
        if name != "_local_scalar_dense":
            if self._looks(name, func, args):
                self.run.looks.append(f"{name} {self.modules.here}")
        elif isinstance(found, bool) and not floating:
            self.run.decisions.append((f"a decision by Python {self.modules.here}", found))
        elif not self.modules.checking:
            self.run.looks.append(f"a number read by Python {self.modules.here}")

    def _looks(self, name: str, func: Any, args: Any) -> bool:
        if name in {"index", "index_put", "index_put_"}:
            masks = [each for each in tensors(args[1]) if each.dtype in {torch.bool, torch.uint8}]
            filled = name != "index" and args[2].numel() == 1
            return bool(masks) and not filled
        return name in LOOKING_TOO or bool(LOOKING & set(func.tags))


def watch(replica: Replica, batch: Batch, *, explore: bool = False, keep: bool = False) -> Run:
    """Outputs and losses of a batch, and how they came about.

    With `explore` dropout drops nothing, and only notes the shapes of its masks. With `keep` the
    tensors that go into and come out of each module are copied.

    Raises:
        Refused: the model failed, or can't draw its masks by keys, with the module's name; or its
            outputs or losses have another form.
    """
    run = Run()
    modules, data = Modules(run.modules, keep=keep), WeakTensorKeyDictionary()
    for array in batch.arrays.values():
        data[array] = array.is_floating_point()
    mode: Drawing = Exploring() if explore else drawing(batch.keys, replica.axes)
    with modules.following(replica.module), Functions(run, modules, data):
        try:
            with Operations(run, modules, data), mode:
                run.outputs = replica.task.outputs(replica.module, batch.arrays)
                check_outputs(run.outputs, len(batch))
                run.losses = replica.task.losses(run.outputs, batch.arrays)
        except Refused as refused:
            if not modules.stack:
                raise
            raise Refused(f"{refused} It was called {modules.here}.") from refused
        except Exception as error:
            raise Refused(_failure(error, modules, batch)) from error
    check_losses(run.losses, len(batch))
    run.draws = mode.draws
    return run


def _failure(error: Exception, modules: Modules, batch: Batch) -> str:
    arrays = ", ".join(
        f"{name} {list(array.shape)} {str(array.dtype).removeprefix('torch.')}"
        for name, array in batch.arrays.items()
    )
    return (
        f"The forward pass failed {modules.here}: {message_of(error).rstrip('.')}. "
        f"The batch has {arrays}."
    )
