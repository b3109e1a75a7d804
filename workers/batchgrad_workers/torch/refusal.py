"""Errors for what can't be computed: a model, or a microbatch on the way that was chosen."""


class Refused(ValueError):
    """A model can't be trained as it is; the message names the part, says why and what to do."""


class OtherCalls(Exception):
    """The calls of a microbatch differ from those of the Trace: compute it one by one."""
