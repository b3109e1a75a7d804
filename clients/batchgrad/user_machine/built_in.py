"""Small real datasets that come with scikit-learn: the examples need no download."""

import importlib
from collections.abc import Callable
from typing import Any

from batchgrad.client import Client
from batchgrad.errors import InvalidSpec, NotFound, Unavailable, extra

Arrays = tuple[Any, Any]


def _digits(sklearn: Any) -> Arrays:
    """Handwritten digits: inputs (1797, 64) float32 in 0…16, classes (1797,) in 0…9."""
    inputs, targets = sklearn.load_digits(return_X_y=True)
    return inputs.astype("float32"), targets


def _digits_images(sklearn: Any) -> Arrays:
    """The digits as images of one channel: inputs (1797, 1, 8, 8)."""
    inputs, targets = _digits(sklearn)
    return inputs.reshape(-1, 1, 8, 8), targets


def _diabetes(sklearn: Any) -> Arrays:
    """Ten measurements of patients (442, 10) float32; disease after a year, 25…346 (442,)."""
    inputs, targets = sklearn.load_diabetes(return_X_y=True, scaled=False)
    return inputs.astype("float32"), targets.astype("float32")


def _breast_cancer(sklearn: Any) -> Arrays:
    """Thirty measurements of tumours (569, 30) float32; 1 benign, 0 malignant (569,)."""
    inputs, targets = sklearn.load_breast_cancer(return_X_y=True)
    return inputs.astype("float32"), targets


_LOADERS: dict[str, Callable[[Any], Arrays]] = {
    "digits": _digits,
    "digits_images": _digits_images,
    "diabetes": _diabetes,
    "breast_cancer": _breast_cancer,
}
NAMES = tuple(_LOADERS)


def load(name: str) -> Arrays:
    """Inputs and targets of one of NAMES.

    Raises:
        Unavailable: scikit-learn is not installed.
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"The {name} data come with {error.name}, which is not installed: "
            f"{extra('service,demo')}"
        ) from error
    return _LOADERS[name](datasets)


def store_if_missing(client: Client, dataset: str, note: Callable[[str], None]) -> None:
    """Store one of NAMES if the service does not have it; any other dataset must be there.

    Raises:
        InvalidSpec: the service does not have the dataset, and it is not built in.
    """
    try:
        client.dataset(dataset)
    except NotFound as missing:
        if dataset not in NAMES:
            raise InvalidSpec(
                f"{client.url} has no dataset {dataset!r}, nor does scikit-learn have it "
                f"({', '.join(NAMES)}): add `--data {dataset}=FILE`; or store it in a running "
                f"service (`batchgrad serve`) with `batchgrad datasets push {dataset} FILE`."
            ) from missing
        client.put_arrays(dataset, *load(dataset))
        note(f"Stored scikit-learn's data as dataset {dataset}.")
