"""Events as sentences, for the command line and the page."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from batchgrad.display.numbers import counted, number, short, size, validation_figures
from batchgrad.display.privacy import upper

if TYPE_CHECKING:
    from batchgrad.contract import Event

Data = Mapping[str, Any]


def sentence(event: "Event") -> str:
    """The data of an event as a sentence; keys and values if the type or the data is unknown."""
    write = _SENTENCES.get(event.type)
    try:
        return write(event.data) if write else _plain(event.data)
    except (KeyError, TypeError, ValueError):
        return _plain(event.data)


def _state(data: Data) -> str:
    words = [data["status"], *([data["reason"]] if data.get("reason") else [])]
    text = ": ".join(words)
    if data.get("detail"):
        text += f". {data['detail']}"
    if data.get("restart"):
        text += f" (restart {data['restart']} of {data['max_restarts']})"
    return text


def _plan(data: Data) -> str:
    micro = f"{counted(data['microbatches_per_step'], 'microbatch')} of {data['microbatch_size']}"
    return (
        f"{counted(data['steps_planned'], 'step')} over {data['training_examples']} examples, "
        f"{counted(data['parameters'], 'parameter')}, {micro} a step"
    )


def _executor(data: Data) -> str:
    measured = ", ".join(f"{name}: {number(ms)} ms" for name, ms in data["milliseconds"].items())
    threads = counted(data["threads"], "thread")
    ray = f"{counted(data['workers'], 'Ray worker')} x {threads}"
    selected = ray if data["workers"] else f"inline, {threads}"
    return f"{selected}: {data['because']}" + (f" (one step: {measured})" if measured else "")


def _progress(data: Data) -> str:
    speed, epsilon = data["examples_per_second"], data.get("epsilon")
    figures = [
        *([] if data["loss"] is None else [f"loss {number(data['loss'])}"]),
        *(f"gap of {name} {number(gap)}" for name, gap in data["shortcuts"].items()),
        *([] if epsilon is None else [f"ε {upper(epsilon)} spent"]),
        *([] if speed is None else [f"{speed:,.0f} examples/s"]),
    ]
    at = f"step {data['step']}/{data['steps_planned']}, epoch {data['epoch']}"
    return ": ".join([at, ", ".join(figures)]) if figures else at


def _evaluation(data: Data) -> str:
    figures = [f"{label} {value}" for label, value in validation_figures(data)]
    text = f"step {data['step']}: {', '.join(figures)}"
    return f"{text}: the best so far" if data.get("best") else text


def _checkpoint(data: Data) -> str:
    text = f"step {data['step']}: {size(data['bytes'])}"
    text += f", parameters {short(data['parameters_digest'])}"
    best = data.get("best")
    if best and best["step"] != data["step"]:
        text += f", the best ones after step {best['step']}: {short(best['parameters_digest'])}"
    return text


def _joined(data: Data) -> str:
    return f"worker {data['worker']} on {data['host']}, process {data['pid']}"


def _lost(data: Data) -> str:
    return f"worker {data['worker']}: {data['reason']}. {data['detail']}"


_BECAME = {
    "silent": "answered no ping",
    "stuck": "answered pings, but not its request",
    "slow": "was slow",
}


def _retry(data: Data) -> str:
    many = counted(data["microbatches"], "microbatch")
    return f"{many} computed again: a worker {_BECAME.get(data['reason'], data['reason'])}"


_SENTENCES: dict[str, Callable[[Data], str]] = {
    "state": _state,
    "plan": _plan,
    "executor": _executor,
    "progress": _progress,
    "evaluation": _evaluation,
    "checkpoint": _checkpoint,
    "worker_joined": _joined,
    "worker_lost": _lost,
    "retry": _retry,
    "warning": lambda data: str(data["detail"]),
    "end": _state,
}


def _plain(data: Data) -> str:
    """Keys and values as JSON writes them."""
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in data.items()
    )
