"""Where a user's loop enters a module: from there to its return, its calls are tapped."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from batchgrad.errors import InvalidArgument
from batchgrad_workers.torch.observing.averaged_error import Shortcut
from batchgrad_workers.torch.observing.finding import found, number_of_examples
from batchgrad_workers.torch.observing.mode import Entry, Observing
from batchgrad_workers.torch.observing.taps import Taps, in_backward

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ATTEMPTS = 5
"""How often the calls of a module are looked for, if it makes other ones each time."""


class Watch:
    """A module, and what is known of each part that a loop calls.

    Hooks are there inside a step only, and not on the modules, where they would be copied, pickled
    and switch off the fast paths of torch; on them only until the parts' calls are known.
    """

    def __init__(self, module: nn.Module, axis: int) -> None:
        self.module, self.axis = module, axis
        self.entries: dict[int, Entry] = {}
        self.uncovered: dict[int, str] = {}
        """Names of parameters that are left out, by id."""
        self.called: dict[int, nn.Module] = {}
        """The parts with entries."""
        self._attempts: dict[int, int] = {}
        self.finds = True

    def norms(self) -> list[str]:
        """Names of the BatchNorms in training mode."""
        return [
            name
            for name, each in self.module.named_modules()
            if isinstance(each, BATCH_NORMS) and each.training
        ]

    def entry(self, module: nn.Module, arguments: tuple[Any, Any], names: dict[int, str]) -> Entry:
        """Find the calls of a part from its arguments; they join those that are known."""
        named = {id(each): name for name, each in module.named_parameters() if each.requires_grad}
        if not named:
            self.entries[id(module)] = Entry({}, set(), {}, by_name=False)
            return self.entries[id(module)]
        n = number_of_examples(arguments, self.axis)
        if n is None:
            raise InvalidArgument(
                f"{type(module).__name__} was called without a tensor that has an axis "
                f"{self.axis}: the examples of a batch must lie along an axis of its arguments."
            )
        self._attempts[id(module)] = self._attempts.get(id(module), 0) + 1
        own = found(module, named, arguments, n, self.axis)
        known = self.entries.get(id(module))
        if known is not None:
            own.calls = {**known.calls, **own.calls}
            own.uncovered |= known.uncovered
        self.entries[id(module)], self.called[id(module)] = own, module
        self.uncovered |= {
            key: names[key] for key, name in own.named.items() if name in own.uncovered
        }
        return own

    def unknown(self, module: nn.Module, keys: set[int], names: dict[int, str]) -> bool:
        """Note parameters with calls that are not known; whether these are looked for again.

        If not, the parameters are left out from now on.
        """
        again = self._attempts.get(id(module), 0) < ATTEMPTS
        self.finds |= again
        if not again:
            self.uncovered |= {key: names[key] for key in keys}
        return again


class Visit:
    """The hooks of one step."""

    def __init__(
        self, watch: Watch, names: dict[int, str], check: bool, shortcut: Shortcut | None
    ) -> None:
        self.watch, self.names = watch, names
        trainable: dict[int, Tensor] = {
            id(each): each for each in watch.module.parameters() if each.requires_grad
        }
        self.shortcut = shortcut
        if shortcut is not None:
            shortcut.visit = ref(self)
        self.taps = Taps(trainable, check or watch.finds, shortcut)
        self.taps.uncovered |= set(watch.uncovered)
        self.complete = True
        """Whether all calls were known."""
        self._parts = {id(each) for each in watch.module.modules()}
        self._thread = threading.get_ident()
        self._handles: list[Any] = []
        self._own: list[Any] = []
        self._mode: Observing | None = None
        self._inside: nn.Module | None = None
        self._depth = 0
        self._finding = False
        self._refusal: InvalidArgument | None = None

    def __enter__(self) -> Self:
        """Set the hooks."""
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        if self.watch.finds:
            self.watch.finds = False
            self._finding = True
            self._set(self.watch.module.modules())
        else:
            self._own = [
                module.register_forward_pre_hook(self._count, with_kwargs=True)
                for key, module in self.watch.called.items()
                if self.watch.entries[key].by_name
            ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove them."""
        for handle in (*self._handles, *self._own):
            handle.remove()
        self._stop()
        lost = self.taps.uncovered - set(self.watch.uncovered)
        self.watch.uncovered |= {key: self.names[key] for key in lost}

    def _set(self, modules: Iterable[nn.Module]) -> None:
        self._own = [
            each.register_forward_pre_hook(self._find, with_kwargs=True) for each in modules
        ]

    def _is_entry(self, module: nn.Module) -> bool:
        return (
            id(module) in self._parts
            and self._inside is None
            and torch.is_grad_enabled()
            and threading.get_ident() == self._thread
            and not in_backward()  # where activation checkpointing repeats a pass
        )

    def _enter(self, module: nn.Module, args: Any) -> None:
        """Before the forward pass of any module."""
        if module is self._inside:
            self._depth += 1
        elif not self._finding and self._is_entry(module):
            entry = self.watch.entries.get(id(module))
            if entry is None:
                self.complete, self.watch.finds = False, True
            else:
                self._start(module, entry, args)

    def _count(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Before the forward pass of a part whose tensors are given by name."""
        if module is self._inside and self._depth == 1:
            self.taps.n = number_of_examples((args, kwargs), self.watch.axis)

    def _find(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Before the forward pass of a part whose arguments are wanted."""
        if not self._is_entry(module):
            return
        for handle in self._own:
            handle.remove()  # the copy shall have none
        self._inside, self._depth = module, 1
        try:
            entry = self.watch.entry(module, (args, kwargs), self.names)
        except InvalidArgument as error:  # raised when the user's call itself has not failed
            self._refusal, self.watch.finds = error, True
            return
        finally:
            self._set(self.watch.module.modules())
        self.taps.uncovered |= set(self.watch.uncovered)
        self._start(module, entry, (args, kwargs))

    def _start(self, module: nn.Module, entry: Entry, arguments: Any) -> None:
        self.taps.start()
        self.taps.n = number_of_examples(arguments, self.watch.axis)
        self._mode = Observing(entry, self.taps.trainable, self.taps)
        self._inside, self._depth = module, 1
        self._mode.__enter__()

    def _leave(self, module: nn.Module, args: Any, *rest: Any) -> None:
        """After the forward pass of any module; torch leaves kwargs out where it has failed."""
        *named, result = rest
        if module is self._inside:
            self._depth -= 1
            if self._depth == 0:
                mode, shortcut = self._mode, self.shortcut
                if mode is not None and shortcut is not None and result is not None:
                    key, axis = id(mode.parameters), self.watch.axis
                    shortcut.left(key, module, mode.entry, (args, *named), result, axis)
                self._stop()
                if self._refusal is not None and result is not None:
                    raise self._refusal

    def _stop(self) -> None:
        mode, module = self._mode, self._inside
        self._mode = self._inside = None
        if mode is not None and module is not None:
            mode.__exit__(None, None, None)
            self.watch.uncovered |= {key: self.names[key] for key in mode.opaque}
            if mode.unknown:
                again = self.watch.unknown(module, mode.unknown, self.names)
                self.complete &= not again
            self.taps.uncovered |= set(self.watch.uncovered)
