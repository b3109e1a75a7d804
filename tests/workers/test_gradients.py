"""Sums of two microbatches, joined."""

from dataclasses import fields

import numpy as np
import pytest

from batchgrad_workers.reduction.sums import GradientSums


@pytest.mark.parametrize("writeable", [True, False])
def test_joining_adds_every_part_in_the_left_one_s_memory_if_it_may(writeable: bool) -> None:
    def sums(value: float) -> GradientSums:
        return GradientSums(*(np.full(3, value + k) for k in range(4)))

    left, right = sums(1.0), sums(10.0)
    for field in fields(left):
        getattr(left, field.name).flags.writeable = writeable

    joined = GradientSums.join(left, right)

    for k, field in enumerate(fields(joined)):
        assert getattr(joined, field.name).tolist() == [11.0 + 2 * k] * 3
        assert (getattr(joined, field.name) is getattr(left, field.name)) == writeable
    assert right.gradient.tolist() == [10.0] * 3
