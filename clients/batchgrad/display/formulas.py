"""Formulas of the losses, and of a right answer, for /docs and for help."""

LOSS_FORMULAS: dict[str, str] = {
    "squared_error": "Σ (f − y)², without a hidden ½",
    "absolute_error": "Σ |f − y|",
    "huber": "Σ of ½ r² where |r| ≤ 1, else |r| − ½, with r = f − y",
    "linear_error": "Σ (y − f): has no minimum and can be negative; it teaches, it does not train",
    "softmax_cross_entropy": "−log softmax(f)[y], y an integer class, f the logits",
    "sigmoid_cross_entropy": "Σ log(1 + e^f) − y f, y from 0 to 1, f the logits",
}
"""f the network's outputs, y the targets of one example; Σ runs over its outputs."""

LOSS_SCALE = (
    "For one example with outputs f and targets y, Σ over its outputs; a minibatch's loss is the "
    "weighted mean over its examples."
)

ACCURACY = (
    "Accuracy counts every example alike, whatever its weight or its class's. By "
    "softmax_cross_entropy an example is right where the largest output is its class; by "
    "sigmoid_cross_entropy where all its outputs are on the right side, f > 0 for y > ½."
)
CONVENTIONS = "Where torch or Keras decides otherwise: docs/conventions.md in the sources."
