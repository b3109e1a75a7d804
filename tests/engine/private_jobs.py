"""Private jobs for the engine's tests: a spec, a key, and a schedule of ε."""

from typing import Any

from batchgrad.contract import JobSpec
from batchgrad_engine.messages import PrivateStart
from tests.engine.small_job import spec

KEY = bytes(range(32)).hex()


def private_spec(privacy: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """The small job, private, without what would tell of its rows."""
    own = {"delta": 1e-3, "noise_multiplier": 0.7, "clip_norm": 0.5, **(privacy or {})}
    return spec(**{"standardize": False, "validation_fraction": 0.0, "privacy": own, **changes})


def private_start(steps: int = 20, **changes: Any) -> PrivateStart:
    """A key, and a grid on which each step spends a tenth."""
    grid = list(range(1, 2 * steps + 1))
    return PrivateStart(
        **{
            "key": KEY,
            "noise_multiplier": 0.7,
            "sampling_rate": 1.0,
            "steps": grid,
            "epsilons": [step / 10 for step in grid],
            "steps_planned": steps,
            **changes,
        }
    )
