"""The error for a model whose per-example gradients are not defined, or can't be computed here."""


class Refused(ValueError):
    """A model can't be trained as it is; the message names the part, says why and what to do."""
