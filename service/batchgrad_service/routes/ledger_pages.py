"""Pages of the example ledger, sorted by any of its keys."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from batchgrad.contract import JobSpec, Ledger, LedgerEntry, LedgerOrder
from batchgrad_engine.checkpoints.ledger_files import LedgerFile
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.problems import InvalidError
from batchgrad_service.store.records import from_cursor, to_cursor
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import StoredDataset

_SUMS = {"mean_norm": "norm_sum", "mean_loss": "loss_sum"}
_CHUNK = 1 << 18
_Keys = npt.NDArray[np.float64]


def ledger_page(
    file: LedgerFile,
    spec: JobSpec,
    dataset: Path,
    *,
    order: LedgerOrder,
    after: str | None,
    limit: int,
) -> Ledger:
    """The training examples after `after`, the largest first (`example`: the smallest first).

    Equal examples are ordered by number; examples that no minibatch had come last. A cursor is a
    value in the order, not a count: pages of a running job skip no example whose value stays.

    Raises:
        InvalidError: `after` is not a cursor of this order.
    """
    place = None if after is None else _from_cursor(after, order)
    stored = _stored(dataset)
    examples, keys = np.empty(0, np.int64), np.empty(0)
    for part in _training(file, spec, stored):
        examples = np.concatenate([examples, part])
        keys = np.concatenate([keys, _keys(file, part, order)])
        first = _places(keys, examples, place, limit)
        examples, keys = examples[first], keys[first]
    more, examples = len(examples) > limit, examples[:limit]
    suspicions = _suspicions(file, examples, _training(file, spec, stored))
    entries = _entries(file, examples, stored, suspicions)
    last = len(examples) - 1 if more else None
    return Ledger(
        step=file.step,
        order=order,
        data=entries,
        next=None if last is None else _to_cursor(order, keys[last], int(examples[last])),
    )


def _training(file: LedgerFile, spec: JobSpec, stored: StoredDataset | None) -> Iterator[Integers]:
    """The training examples in pieces, so that the service holds little of a large ledger."""
    if stored is None:  # deleted, with its weights
        for start in range(0, len(file), _CHUNK):
            rows = slice(start, min(start + _CHUNK, len(file)))
            yield start + np.flatnonzero(file.column("times_seen", rows))
        return
    training = job_sampler(spec, stored).training
    for start in range(0, len(training), _CHUNK):
        yield training[start : start + _CHUNK].astype(np.int64)


def _keys(file: LedgerFile, examples: Integers, order: LedgerOrder) -> _Keys:
    """The value to order by, descending, of each of ascending examples; -inf if never seen."""
    if order == "example" or not len(examples):
        return -examples.astype(np.float64)
    rows = slice(int(examples[0]), int(examples[-1]) + 1)
    of_rows = examples - rows.start
    counts = file.column("times_seen", rows)[of_rows]
    if order == "times_seen":
        return counts.astype(np.float64)
    keys = file.column(_SUMS.get(order, order), rows)[of_rows]
    if order in _SUMS:
        keys /= np.maximum(counts, 1)
    keys[counts == 0] = -np.inf
    return keys


def _places(
    keys: _Keys, examples: Integers, after: tuple[float, int] | None, limit: int
) -> Integers:
    """Indices of the first `limit` + 1 keys after `after`, in order; ties by example."""
    places = np.arange(len(keys))
    if after is not None:
        key, example = after
        places = places[(keys < key) | ((keys == key) & (examples > example))]
    if len(places) > limit + 1:  # sort only keys that can be among the first
        least = np.partition(keys[places], len(places) - limit - 1)[len(places) - limit - 1]
        places = places[keys[places] >= least]
    return places[np.lexsort((examples[places], -keys[places]))][: limit + 1]


def _suspicions(file: LedgerFile, examples: Integers, training: Iterator[Integers]) -> Integers:
    """The places (n,) of examples by mean loss among the `training` ones; equal ones share one."""
    sums, counts = (file.at(name, examples) for name in ("loss_sum", "times_seen"))
    own = sums / np.maximum(counts, 1)
    values = np.sort(own)
    above = np.zeros(len(values) + 1, np.int64)  # how many means are above just k of the values
    for part in training if len(values) else ():
        keys = _keys(file, part, "mean_loss")
        places = np.searchsorted(values, keys[keys > values[0]])  # of the first pages a few
        above += np.bincount(places, minlength=len(values) + 1)
    larger = above[::-1].cumsum()[::-1]
    return larger[np.searchsorted(values, own, side="right")] + 1


def _entries(
    file: LedgerFile, examples: Integers, stored: StoredDataset | None, suspicions: Integers
) -> list[LedgerEntry]:
    counts = file.at("times_seen", examples)
    means = {name: file.at(of, examples) / np.maximum(counts, 1) for name, of in _SUMS.items()}
    lasts = {name: file.at(name, examples) for name in ("last_loss", "last_norm")}
    targets = _targets(stored, examples)
    names = stored.class_names if stored else None
    return [
        LedgerEntry(
            example=int(example),
            id=stored.id_of(example) if stored else None,
            target=None if targets is None else targets[k],
            class_name=None if targets is None or names is None else names[int(targets[k])],
            suspicion=int(suspicions[k]) if counts[k] else None,
            times_seen=int(counts[k]),
            **{
                name: float(figures[k]) if counts[k] else None
                for name, figures in (means | lasts).items()
            },
        )
        for k, example in enumerate(examples)
    ]


def _stored(dataset: Path) -> StoredDataset | None:
    """The dataset; None if it was deleted."""
    try:
        return StoredDataset.open(dataset)
    except FileNotFoundError:
        return None


def _targets(stored: StoredDataset | None, examples: Integers) -> list[int | float] | None:
    """The examples' classes or numbers; None if they have none, or several each."""
    targets = None if stored is None else stored.arrays.get("targets")
    if targets is None or targets[:1].size != 1:
        return None
    found: list[int | float] = targets[examples].reshape(-1).tolist()
    return found


def _to_cursor(order: LedgerOrder, key: float, example: int) -> str:
    return to_cursor(f"{order} {float(key).hex()} {example}")


def _from_cursor(cursor: str, order: LedgerOrder) -> tuple[float, int]:
    try:
        of, key, example = from_cursor(cursor).split(" ")
        place = float.fromhex(key), int(example)
        if not 0 <= place[1] < 2**63:
            of = "none"
    except (ValueError, OverflowError):  # OverflowError: 0x1p+1024
        of, place = "none", (0.0, 0)
    if of != order:
        raise InvalidError(
            f"after is {cursor!r:.100}, which is not a cursor of the order {order}: use `next` of "
            "the page before, with the same order.",
            code="invalid_cursor",
        )
    return place
