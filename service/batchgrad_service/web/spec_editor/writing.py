"""Values as YAML on one line."""

import json
import math
import re
from typing import Any

from batchgrad.parsing.documents import SyntaxFault, parse_yaml
from batchgrad_service.web.spec_editor.nodes import RefusedEditError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*")


def written(value: Any) -> str:
    """A value as YAML in flow style: {kind: linear, out_features: 64}."""
    if isinstance(value, dict):
        pairs = (f"{written(key)}: {written(one)}" for key, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and parse_yaml(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return json.dumps(value).replace("e-0", "e-")  # 1e-5, as people write it


def typed(text: str) -> str:
    """What a user typed for a value that is not text alone, ready to stand in a spec.

    Numbers stay as they were typed.

    Raises:
        RefusedEditError: it is not YAML.
    """
    try:
        value = parse_yaml(text)
    except SyntaxFault as fault:
        raise RefusedEditError(f"{text!r:.60} {fault}.") from None
    if isinstance(value, str | dict | list):
        return written(value)
    return text.partition("#")[0].strip() or "null"
