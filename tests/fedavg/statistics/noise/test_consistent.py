"""Consistent counts, against the textbook solution of weighted least squares."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.statistics.noise.consistent import Estimates, agreed, leaves_of


@settings(deadline=None)
@given(depth=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_leaves_are_those_of_weighted_least_squares(depth, seed):
    rng = np.random.default_rng(seed)
    levels = [rng.normal(50, 20, 1 << height) for height in range(depth + 1)]
    variances = rng.uniform(0.5, 4, depth + 1).tolist()
    design = np.concatenate(
        [np.kron(np.eye(1 << h), np.ones(1 << (depth - h))) for h in range(depth + 1)]
    )
    weights = np.repeat(1 / np.sqrt(variances), [1 << h for h in range(depth + 1)])
    want = np.linalg.lstsq(design * weights[:, None], np.concatenate(levels) * weights, rcond=None)[
        0
    ]
    found = leaves_of(levels, variances)
    np.testing.assert_allclose(found.values, want, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        found.covariance, np.linalg.inv((design * weights[:, None]).T @ (design * weights[:, None]))
    )


def test_consistent_counts_fulfil_all_sums_and_are_never_less_precise():
    rng = np.random.default_rng(0)
    groups = [
        Estimates.independent(rng.normal(100, 10, 1), 9.0),
        Estimates.independent(rng.normal(50, 10, 2), 4.0),
        leaves_of([rng.normal(100, 9, 1), rng.normal(50, 9, 2), rng.normal(25, 9, 4)], [1, 2, 3]),
    ]
    sums = np.array([[1.0, -1, -1, 0, 0, 0, 0], [1.0, 0, 0, -1, -1, -1, -1]])
    # A condition that follows from the others changes nothing.
    twice = np.concatenate([sums, sums[:1] - sums[1:]])
    found = agreed(groups, twice)
    values = np.concatenate([group.values for group in found])
    np.testing.assert_allclose(sums @ values, 0, atol=1e-9)
    for before, after in zip(groups, found, strict=True):
        assert (np.diag(after.covariance) <= np.diag(before.covariance) + 1e-12).all()
    again = agreed(groups, sums)
    np.testing.assert_allclose(values, np.concatenate([group.values for group in again]))


def test_agreement_is_the_best_linear_estimate():
    """One total and its parts, against generalised least squares by hand."""
    whole, parts = np.array([110.0]), np.array([40.0, 50.0, 10.0])
    found = agreed(
        [Estimates.independent(whole, 3.0), Estimates.independent(parts, 1.0)],
        np.array([[1.0, -1, -1, -1]]),
    )
    design = np.concatenate([np.ones((1, 3)) / np.sqrt(3), np.eye(3)])
    right = np.concatenate([whole / np.sqrt(3), parts])
    want = np.linalg.lstsq(design, right, rcond=None)[0]
    np.testing.assert_allclose(found[1].values, want)
    np.testing.assert_allclose(found[1].covariance, np.linalg.inv(design.T @ design))
