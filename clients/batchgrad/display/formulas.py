"""Sentences about losses and accuracy, for /docs and for help."""

from batchgrad import contract

LOSS_SCALE = (
    "For one example with outputs f and targets y, Σ over its outputs; a minibatch's loss is the "
    "weighted mean over its examples."
)
ACCURACY = (
    "Accuracy ignores the weights of examples and classes. "
    + "; ".join(
        f"by {name} an example is right where {kind.right}"
        for name, kind in contract.LOSSES.items()
        if kind.right
    ).capitalize()
    + "."
)
CONVENTIONS = (
    "Where torch or Keras decides otherwise: docs/explanation/conventions.md in the sources."
)
