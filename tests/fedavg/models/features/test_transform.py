"""Scattering coefficients against Kymatio's, and against convolutions in space."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedavg.models.features.images import Scattering

# From Kymatio 0.3.0 (PyPI; Scattering2D in torch, float32), of `image` below: shape, J, L, number of
# coefficients, and every (number ÷ 12)-th of them. It takes 3.1415 for π, so that all are 3e-5 larger.
KYMATIO = [
    ((28, 28), 2, 8, 3969, ("0.67745 0.020186 0.040288 0.00020034 0.00044684 0.00035396 0.0020859 0.0019335"
     " 0.0020808 0.0013574 1.1811e-05 0.00015042")),
    ((13, 18), 2, 3, 192, ("0.66612 0.05593 0.063168 0.069135 0.059373 0.059391 0.0024048 0.00084099"
     " 0.0017245 0.0023279 0.0017073 0.0052599")),
    ((9, 12), 1, 2, 72, ("0.77266 0.67607 0.35272 0.57959 0.07378 0.0628 0.05825 0.078202 0.084983 0.086349"
     " 0.087599 0.086253")),
    ((20, 31), 3, 2, 114, ("0.56796 0.060775 0.095676 0.070595 0.0071417 0.0024556 0.0031326 0.0002025"
     " 0.0014334 0.00032173 0.015274 0.002208")),
]  # fmt: skip


def image(rows: int, columns: int) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns]
    return 0.5 + 0.3 * np.sin(0.9 * y + 0.2 * x * x / columns) + 0.2 * np.cos(1.7 * x)


def averages(part: Scattering, images: np.ndarray) -> np.ndarray:
    """The averages before they are normalised, float[n, maps, rows, columns]."""
    module = part.module(images.shape[1:])
    rows, columns = module._rows, module._columns
    margins = (columns.before, columns.after, rows.before, rows.after)
    given = torch.from_numpy(images.astype(np.float32))[:, None]
    return module._maps(functional.pad(given, margins, mode="reflect")).numpy()


@pytest.mark.parametrize(("shape", "scales", "angles", "size", "told"), KYMATIO)
def test_coefficients_are_those_of_kymatio(shape, scales, angles, size, told):
    part = Scattering(scales=scales, angles=angles, groups=1)
    found = averages(part, image(*shape)[None]).ravel()
    assert (found.size,) == (size,) == part.shape(shape)
    wanted = np.array(told.split(), float)
    np.testing.assert_allclose(found[:: size // 12][:12], wanted, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(found[0], wanted[0], rtol=4e-5)


def test_random_images_have_the_coefficients_of_an_installed_kymatio():
    kymatio = pytest.importorskip("kymatio.torch")
    images = np.random.default_rng(0).random((3, 17, 30), dtype=np.float32)
    wanted = kymatio.Scattering2D(J=2, shape=(17, 30))(torch.from_numpy(images)).numpy()
    found = averages(Scattering(), images)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def _convolved(signal: np.ndarray, kernel) -> np.ndarray:
    """A circular convolution, as a sum of shifted signals; the kernel is a function of the plane."""
    rows, columns = signal.shape
    y, x = np.mgrid[:rows, :columns]
    periods = [(i, k) for i in range(-3, 4) for k in range(-3, 4)]
    weights = sum(kernel(y + rows * i, x + columns * k) for i, k in periods)
    return sum(
        weights[a, b] * np.roll(signal, (a, b), (0, 1)) for a in range(rows) for b in range(columns)
    )


def test_first_order_coefficients_are_convolutions_with_wavelets_sampled_in_space():
    """At the smallest scale no pixel is left out before the last average, so that both are the same sum."""
    one, angles = image(13, 18), 3
    padded = np.pad(one, ((3, 4), (3, 3)), mode="reflect")
    frame = Scattering(angles=angles, groups=1).module(one.shape)
    assert padded.shape == (frame._rows.padded, frame._columns.padded)
    far = np.mgrid[-40:41, -40:41]

    def bell(y, x):
        return np.exp(-(y * y + x * x) / 2 / 1.6**2) / (2 * math.pi * 1.6**2)

    found = averages(Scattering(angles=angles, groups=1), one[None])[0]
    wanted = _convolved(padded, bell)[::4, ::4][1:-1, 1:-1]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
    for angle in range(angles):
        turn = ((angles - 2) // 2 - angle) * math.pi / angles

        def envelope(y, x, turn=turn):
            along, across = (
                y * math.cos(turn) + x * math.sin(turn),
                x * math.cos(turn) - y * math.sin(turn),
            )
            slant = 4 / angles
            return (
                slant
                * np.exp(-(along**2 + (slant * across) ** 2) / 2 / 0.8**2)
                / (2 * math.pi * 0.8**2)
            )

        def ripple(y, x, turn=turn, envelope=envelope):
            along = y * math.cos(turn) + x * math.sin(turn)
            return envelope(y, x) * np.exp(0.75j * math.pi * along)

        mean = ripple(*far).sum() / envelope(*far).sum()

        def wave(y, x, ripple=ripple, envelope=envelope, mean=mean):
            return ripple(y, x) - mean * envelope(y, x)

        moduli = np.abs(_convolved(padded, wave))
        wanted = _convolved(moduli, bell)[::4, ::4][1:-1, 1:-1]
        np.testing.assert_allclose(found[1 + angle], wanted, rtol=1e-4, atol=1e-6)


def test_groups_have_mean_zero_and_variance_one_within_each_image():
    images = np.stack([image(28, 28), 5 * image(28, 28).T])
    flat = Scattering().module((28, 28))(torch.from_numpy(images.astype(np.float32)))
    groups = flat.reshape(2, 27, -1)
    np.testing.assert_allclose(groups.mean(2).numpy(), 0.0, atol=1e-5)
    assert float(groups.std(2, unbiased=False).max()) == pytest.approx(1.0, abs=1e-2)


def test_colours_have_coefficients_of_their_own_and_a_row_is_a_square_image():
    colour = np.stack([image(16, 16), 1 - image(16, 16), image(16, 16).T]).astype(np.float32)
    part = Scattering(groups=81 * 3)
    whole = part.module((3, 16, 16))(torch.from_numpy(colour[None]))
    alone = Scattering(groups=81).module((256,))(torch.from_numpy(colour.reshape(3, 256)))
    np.testing.assert_allclose(whole.reshape(3, -1).numpy(), alone.numpy(), atol=1e-4)
