"""Step reports as they travel and are stored: frozen dataclasses become the contract's models."""

from datetime import UTC, datetime
from typing import Any

from batchgrad.contract import (
    LargestNorm,
    LayeredShortcut,
    Norms,
    NormTest,
    ShortcutLayer,
    StepRow,
)
from batchgrad_service.engine.comparison import Comparison
from batchgrad_service.engine.statistics import NoiseScale
from batchgrad_service.engine.step_report import StepReport


def step_row(report: StepReport, smoothed: NoiseScale) -> StepRow:
    """A step as it travels and is stored; its noise scale is `smoothed` over the steps so far."""
    return StepRow(
        step=report.step,
        epoch=report.epoch,
        time=datetime.now(UTC),
        loss=report.loss,
        learning_rate=report.learning_rate,
        gradient_norm=report.gradient_norm,
        noise_scale=smoothed.simple,
        norm_test=NormTest(ratio=report.norm_test.ratio, batch_size=report.norm_test.batch_size),
        gradient_checksum=report.gradient_checksum,
        norms=Norms(
            quantiles=report.norm_quantiles,
            histogram=report.norm_histogram,
            largest=[LargestNorm(example=n, norm=norm) for n, norm in report.largest_norms],
        ),
        shortcuts={name: layered(each) for name, each in report.shortcuts.items()},
        phases={str(phase): seconds for phase, seconds in report.phases.items()},
        workers=report.workers,
    )


def layered(comparison: Comparison) -> LayeredShortcut:
    """A comparison as it travels."""
    agreement: dict[str, Any] = {
        "relative_error": comparison.agreement.relative_error,
        "cosine_similarity": comparison.agreement.cosine_similarity,
        "norm_ratio": comparison.agreement.norm_ratio,
    }
    if comparison.layers is None:
        return LayeredShortcut(**agreement)
    layers = [
        ShortcutLayer(
            name=gap.name,
            relative_error=gap.relative_error,
            covariance_norm=gap.covariance_norm,
            propagation_norm=gap.propagation_norm,
        )
        for gap in comparison.layers
    ]
    return LayeredShortcut(**agreement, layers=layers)
