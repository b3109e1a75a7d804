"""Find the lines of a spec file's keys, for messages."""

from collections.abc import Sequence
from typing import Any

from yaml.nodes import MappingNode, SequenceNode

from batchgrad.contract import FieldError
from batchgrad.parsing.documents import compose
from batchgrad.parsing.validation import parts_of


class KeyLines:
    """The line of each key of a spec file."""

    def __init__(
        self, text: str, path: str, overrides: Sequence[str] = (), by: str = "--set"
    ) -> None:
        """`overrides` are keys that the option `by` has set."""
        self.path = path
        self._by = by
        self._root = None if path.endswith(".json") else compose(text)
        self._overridden = [override.partition("=")[0].split(".") for override in overrides]

    def name(self, error: FieldError) -> FieldError:
        """The error with the line of its key, or with "by --set" for an overridden one."""
        parts = parts_of(error.pointer)
        if any(parts[: len(key)] == key for key in self._overridden):
            place = f"by {self._by}"
        elif (line := self.line_of(error.pointer)) is not None:
            place = f"line {line}"
        else:
            return error
        return error.model_copy(update={"detail": f"{error.detail} ({place})"})

    def line_of(self, pointer: str) -> int | None:
        """The line of a YAML key, from 1; that of its closest parent if the key is missing."""
        node: Any = self._root
        line: int | None = None
        for part in parts_of(pointer):
            if isinstance(node, MappingNode):
                pairs = [(k, v) for k, v in node.value if k.value == part]
                if not pairs:
                    break
                line, node = pairs[-1][0].start_mark.line + 1, pairs[-1][1]
            elif isinstance(node, SequenceNode) and int(part) < len(node.value):
                node = node.value[int(part)]
                line = node.start_mark.line + 1
            else:
                break
        return line
