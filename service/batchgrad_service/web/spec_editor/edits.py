"""Change one value of YAML text; comments, order and every other line stay.

What is made is parsed again: if more than that value changed, the change is refused.
"""

from collections.abc import Sequence
from typing import Any

from yaml.nodes import MappingNode, Node, SequenceNode

from batchgrad.parsing.documents import SyntaxFault, compose, parse_yaml
from batchgrad_service.web.spec_editor.nodes import (
    Path,
    RefusedEditError,
    begin,
    end,
    find,
    is_block,
    line_end,
    line_start,
)
from batchgrad_service.web.spec_editor.writing import written


def put(text: str, path: Path, value: str, order: Sequence[str] = ()) -> str:
    """Set a value, given as YAML; a new key stands where `order` has it."""
    if not path:
        raise RefusedEditError("A spec has keys and values: edit the YAML.")
    root, key = compose(text), path[-1]
    node, parent = find(root, path), find(root, path[:-1])
    if node is not None:
        made = _replaced(text, node, value)
    elif isinstance(key, int):
        raise RefusedEditError(f"There is no item {key} of {path[-2]!r:.40}: reload the page.")
    elif isinstance(parent, MappingNode) and (parent.value or parent.flow_style):
        made = _with_key(text, parent, str(key), value, order)
    elif parent is None and len(path) == 1:
        made = f"{text.rstrip()}\n{key}: {value}\n".lstrip()
    else:
        return put(text, path[:-1], f"{{{key}: {value}}}")
    return _checked(text, made, lambda data: _assigned(data, path, parse_yaml(value)))


def remove(text: str, path: Path) -> str:
    """Remove a key, or an item of a list."""
    parent = find(compose(text), path[:-1])
    spans = _spans(text, parent)
    index = _index(parent, path[-1])
    start, stop = spans[index]
    if len(spans) == 1 and parent is not None and path[:-1]:
        empty = "{}" if isinstance(parent, MappingNode) else "[]"
        made = _replaced(text, parent, empty)
    elif parent is not None and is_block(parent):
        made = text[:start] + text[min(stop + 1, len(text)) :]
    elif index + 1 < len(spans):
        made = text[:start] + text[spans[index + 1][0] :]
    else:
        made = text[: spans[index - 1][1] if index else start] + text[stop:]
    return _checked(text, made, lambda data: _without(data, path))


def append(text: str, path: Path, value: str) -> str:
    """Add an item, given as YAML on one line, at the end of a list."""
    node = find(compose(text), path)
    if not isinstance(node, SequenceNode):
        return put(text, path, f"[{value}]")
    if is_block(node):
        at = line_end(text, end(text, node.value[-1]))
        made = f"{text[:at]}\n{' ' * node.start_mark.column}- {value}{text[at:]}"
    else:
        at = end(text, node.value[-1]) if node.value else begin(node) + 1
        made = text[:at] + (", " if node.value else "") + value + text[at:]
    return _checked(text, made, lambda data: _at(data, path).append(parse_yaml(value)))


def swap(text: str, path: Path, first: int) -> str:
    """Exchange item `first` of a list and the one after it, each with its comments."""
    spans = _spans(text, find(compose(text), path))
    if not 0 <= first < len(spans) - 1:
        raise RefusedEditError("This is already at the end of the list.")
    (a, b), (c, d) = spans[first : first + 2]
    made = text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]

    def swapped(data: Any) -> None:
        items = _at(data, path)
        items[first : first + 2] = reversed(items[first : first + 2])

    return _checked(text, made, swapped)


def _checked(text: str, made: str, change: Any) -> str:
    """`made`, if it means what `change` makes of the value of `text`."""
    try:
        meant = parse_yaml(text)
        meant = {} if meant is None else meant
        change(meant)
        if (parse_yaml(made) or {}) == meant:
            return made
    except (SyntaxFault, LookupError, TypeError, AttributeError):
        pass
    raise RefusedEditError("The form cannot change text that is written like this: edit the YAML.")


def _replaced(text: str, node: Node, value: str) -> str:
    start, stop = begin(node), end(text, node)
    before = text[:start]
    if value.startswith("\n") or is_block(node):  # lines below `key:`, now or before
        before = before.rstrip()
    between = "" if value.startswith("\n") or before.endswith((" ", "[", "{")) else " "
    return f"{before}{between}{value}{text[stop:]}"


def _with_key(text: str, parent: MappingNode, key: str, value: str, order: Sequence[str]) -> str:
    known = [str(one[0].value) for one in parent.value]
    before = order[: order.index(key)] if key in order else ()
    last = max((known.index(one) for one in before if one in known), default=len(known) - 1)
    if not known:
        at = begin(parent) + 1
        return f"{text[:at]}{written(key)}: {value}{text[at:]}"
    at = end(text, parent.value[last][1])
    if not is_block(parent):
        return f"{text[:at]}, {written(key)}: {value}{text[at:]}"
    at = line_end(text, at)
    column = parent.value[0][0].start_mark.column
    return f"{text[:at]}\n{' ' * column}{written(key)}: {value}{text[at:]}"


def _spans(text: str, parent: Node | None) -> list[tuple[int, int]]:
    """Where each item, or key with its value, begins and ends; whole lines of a block.

    Comments on lines of their own above an item, the first excepted, belong to it.
    """
    if not isinstance(parent, MappingNode | SequenceNode):
        raise RefusedEditError("There is nothing to change here: edit the YAML.")
    parts = [one if isinstance(one, tuple) else (one, one) for one in parent.value]
    inner = [(begin(first), end(text, last)) for first, last in parts]
    if not is_block(parent):
        return inner
    spans: list[tuple[int, int]] = []
    for start, stop in inner:
        top = line_start(text, start)
        while spans and isinstance(parent, SequenceNode):
            above = line_start(text, top - 1)
            if above <= spans[-1][1] or not text[above:top].lstrip().startswith("#"):
                break
            top = above
        spans.append((top, line_end(text, stop)))
    return spans


def _index(parent: Node | None, part: str | int) -> int:
    if isinstance(parent, MappingNode):
        keys = [str(one[0].value) for one in parent.value]
        if str(part) in keys:
            return keys.index(str(part))
    elif isinstance(parent, SequenceNode) and isinstance(part, int) and part < len(parent.value):
        return part
    raise RefusedEditError(f"There is no {part!r:.40} to change: edit the YAML.")


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _assigned(data: Any, path: Path, value: Any) -> None:
    _at(data, path[:-1])[path[-1]] = value


def _without(data: Any, path: Path) -> None:
    del _at(data, path[:-1])[path[-1]]
