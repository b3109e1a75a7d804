"""Places of keys and values in YAML text, from PyYAML's marks."""

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]
"""Keys and indices from the root: ("optimizer", "momentum"), ("model", "layers", 0)."""


class RefusedEditError(Exception):
    """The text cannot be changed there without changing more; the message says what to do."""


def find(root: Node | None, path: Path) -> Node | None:
    """The node at a path; None if there is none."""
    node = root
    for part in path:
        if isinstance(node, MappingNode):
            node = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node


def begin(node: Node) -> int:
    """Where a node's text begins."""
    return int(node.start_mark.index)


def end(text: str, node: Node) -> int:
    """Where a node's text ends, before comments and empty lines that follow it."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        last = node.value[-1]
        return end(text, last[1] if isinstance(last, tuple) else last)
    stop = int(node.end_mark.index)
    if isinstance(node, ScalarNode) and node.style in {"|", ">"}:
        return len(text[:stop].rstrip())
    return stop


def is_block(node: Node) -> bool:
    """Whether a mapping or list is written on lines of its own, without brackets."""
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style


def line_start(text: str, at: int) -> int:
    """Where the line of a place begins."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Where the line of a place ends, before its line break."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found
