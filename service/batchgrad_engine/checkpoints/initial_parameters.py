"""Load the initial parameters of a job from a safetensors file."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from batchgrad_engine.failures import BadInitialParameters
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.network import Network


def load_initial_parameters(path: Path, network: Network, precision: str) -> Array:
    """θ (P,) from the file's tensors.

    Raises:
        BadInitialParameters: the file can't be read, or its names or shapes are not the network's.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInitialParameters(f"The initial parameters can't be read: {error}") from error
    expected = {each.name: list(each.shape) for each in network.slices}
    got = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if got != expected:
        raise BadInitialParameters(
            f"The initial parameters are {got}; this network has {expected}."
        )
    return network.flat(tensors).astype(precision)
