"""The table of each shortcut's error against the mean gradient G, as a whole and by layer."""

from collections.abc import Mapping

from batchgrad.contract.views import LayeredShortcut, ShortcutLayer
from batchgrad.display.numbers import NONE, number

HEADING = (
    "shortcut",
    "layer",
    "relative error",
    "cosine",
    "norm ratio",
    "‖covariance‖",
    "‖propagation‖",
    "here / above",
)
HOW_TO_READ = (
    "Relative error is ‖shortcut − G‖ / ‖G‖, 0 is exact. A layer's gap is, as vectors, its "
    "covariance (lost by\naveraging right here) plus its propagation (lost in the layers above); "
    "both norms are absolute."
)


def rows(shortcuts: Mapping[str, LayeredShortcut]) -> list[list[str]]:
    """A row for each shortcut as a whole, then one for each of its layers."""
    table = []
    for name, shortcut in shortcuts.items():
        whole = (shortcut.relative_error, shortcut.cosine_similarity, shortcut.norm_ratio)
        table.append([name, "all", *map(number, whole), "", "", ""])
        table += [_layer(layer) for layer in shortcut.layers or ()]
    return table


def _layer(layer: ShortcutLayer) -> list[str]:
    norms = (layer.covariance_norm, layer.propagation_norm)
    return [
        "",
        layer.name,
        number(layer.relative_error),
        "",
        "",
        *map(number, norms),
        _split(layer),
    ]


def _split(layer: ShortcutLayer) -> str:
    """The two norms as percentages of their sum, which need not equal the gap's norm."""
    here, above = layer.covariance_norm, layer.propagation_norm
    if here is None or above is None or here + above == 0:
        return NONE
    return f"{here / (here + above):.0%} / {above / (here + above):.0%}"
