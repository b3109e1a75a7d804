"""Load the initial parameters of a job from a safetensors file."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from batchgrad_engine.failures import BadInitialParameters
from batchgrad_workers.arrays import Array
from batchgrad_workers.parameters import ParameterLayout


def load_initial_parameters(path: Path, layout: ParameterLayout, precision: str) -> Array:
    """θ (P,) from the file's tensors.

    Raises:
        BadInitialParameters: the file can't be read, or its names or shapes are not the network's.
    """
    tensors = read_tensors(path)
    expected = {each.name: list(each.shape) for each in layout.slices}
    got = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if got != expected:
        raise BadInitialParameters(
            f"The initial parameters are {got}; this network has {expected}."
        )
    return layout.flat(tensors).astype(precision)


def read_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file, by name.

    Raises:
        BadInitialParameters: the file can't be read.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInitialParameters(f"The initial parameters can't be read: {error}") from error


def fill(parameters: Array, layout: ParameterLayout, tensors: Mapping[str, Array]) -> None:
    """Write into θ = `parameters` (P,) those parameters that `tensors` has; the others stay."""
    for name, view in layout.named(parameters).items():
        if name in tensors:
            view[...] = tensors[name]
