"""The bytes that a forward pass keeps for its backward pass."""

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.mode import Shapes


def saved_bytes(replica: Replica, batch: Batch) -> int:
    """Bytes of all tensors that autograd saves for a batch, without parameters and its arrays.

    Where torch.func forbids to ask, those of all results.
    """
    known = {each.untyped_storage().data_ptr() for each in replica.module.parameters()}
    known |= {each.untyped_storage().data_ptr() for each in batch.arrays.values()}
    found = dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            losses = replica.losses(batch)
    except RuntimeError:
        with Shapes() as results:
            losses = replica.losses(batch)
        size = losses.element_size()
        return size * sum(shape.numel() for _, shapes in results.found for shape in shapes)
    del losses
    return sum(found.values())
