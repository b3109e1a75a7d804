"""Errors for what can't be computed: a model, or a microbatch on the way that was chosen."""

import re

_NUMBER = re.compile(r"(?<![\w.])(?<!odule )-?(\d+(\.\d+)?(e[+-]?\d+)?|inf|nan)(?!\w)")


class Refused(ValueError):
    """A model can't be trained as it is; the message names the part, says why and what to do."""

    def without_numbers(self) -> str:
        """With … for all numbers but modules' names: some are losses of rows, or their places."""
        return _NUMBER.sub("…", str(self))


class OtherCalls(Exception):
    """The calls of a microbatch differ from those of the Trace: compute it one by one."""
