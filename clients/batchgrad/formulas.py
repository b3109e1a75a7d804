"""What each loss is, for /docs and for help."""

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
