"""Filters: wavelets that sum to zero, averages that keep constants."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.models.features.wavelets import Frame, band_pass, low_pass


@pytest.mark.parametrize("size", [5, 13, 28, 31])
@pytest.mark.parametrize("scales", [1, 2, 3])
def test_a_frame_is_a_multiple_of_the_step_and_holds_the_image(size, scales):
    frame = Frame(size, scales)
    assert frame.padded % 2**scales == 0
    assert frame.before + size + frame.after == frame.padded
    assert frame.fits == (size >= 2**scales + 1)
    assert frame.kept == size // 2**scales


@pytest.mark.parametrize("start", [0, 1])
def test_wavelets_ignore_constants_and_are_as_many_as_angles(start):
    found = band_pass(Frame(28, 2), Frame(20, 2), 1, 8, start)
    assert found.shape == (8, 36 >> start, 28 >> start)
    assert np.abs(found[:, 0, 0]).max() < 1e-6
    assert len({one.tobytes() for one in found}) == 8


@pytest.mark.parametrize("start", [0, 1, 2])
def test_averages_keep_a_constant(start):
    frame = Frame(28, 3)
    matrix = low_pass(frame, start)
    assert matrix.shape == (3, frame.padded >> start)
    np.testing.assert_allclose(matrix.sum(1), 1.0, atol=1e-4)
