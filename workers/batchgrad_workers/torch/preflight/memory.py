"""The bytes that a forward pass keeps for its backward pass."""

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from batchgrad_workers.torch.replica import Batch, Replica


def saved_bytes(replica: Replica, batch: Batch) -> int:
    """Bytes of all tensors that autograd saves for a batch, without parameters and its arrays."""
    known = {each.untyped_storage().data_ptr() for each in replica.module.parameters()}
    known |= {each.untyped_storage().data_ptr() for each in batch.arrays.values()}
    found = dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        losses = replica.losses(batch)
    del losses
    return sum(found.values())
