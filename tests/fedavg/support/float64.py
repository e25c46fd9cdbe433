"""Training in float64, to compare formulas without their rounding.

Two ways to train agree up to rounding, and rounding depends on the processor and its libraries.  A ReLU
whose argument is within rounding of zero even makes the two differ by a whole gradient.  In float64 rounding
is 1e-16 of a number. A net of some thousand units has an argument so near to zero in fewer than one of 1e9
runs; a wrong formula is wrong by 1e-4 as in float32.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from fedavg.models.layout import Layout
from fedavg.training.fast import stacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedavg.training.job import TrainingJob

TOLERANCE = 1e-9
"""Of an update's largest coordinate: far above rounding in float64, far below what a formula is worth."""


@contextmanager
def in_float64() -> Iterator[None]:
    """Every path computes in float64; modules and features must be float64 as well (`doubled`)."""
    before = torch.get_default_dtype()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layout, "as_float32", lambda _, vector: np.array(vector, np.float64))
        patch.setattr(stacked, "_FLOAT", np.float64)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def doubled(job: TrainingJob) -> TrainingJob:
    """The same job with a module and with features in float64, which `Dataset` alone would convert."""
    dataset = replace(job.dataset)
    object.__setattr__(dataset, "features", job.dataset.features.astype(np.float64))
    return replace(job, model=job.model.double(), dataset=dataset)


def assert_same_formula(found: np.ndarray, expected: np.ndarray) -> None:
    """Two updates in float64 differ by rounding alone."""
    largest = float(np.abs(expected).max())
    assert largest > 1e-4, "an update so small would pass for any other"
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * largest)
