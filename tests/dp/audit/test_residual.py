"""Checks of noise: their verdicts, messages and numbers, and the inputs that they refuse to judge."""

from __future__ import annotations

import numpy as np
import pytest

from dp import InvalidParameterError, NonFiniteError, sample_rounded_gaussian
from dp.audit import NoiseFault, check_noise


def noise(rounds=8, places=500, stddev=20.0):
    drawn = sample_rounded_gaussian(stddev, rounds * places)
    return drawn.reshape(rounds, places).astype(float)


def texts(rows, stddev=20.0):
    return [finding.text for finding in check_noise(rows, stddev).findings]


def test_a_weak_round_and_a_weak_coordinate_are_named_from_one():
    rows = noise()
    rows[2] /= 3
    assert any("too little noise in round 3 of 8" in text for text in texts(rows))
    rows = noise(20)
    rows[:, 41] = 0
    assert texts(rows) == ["too little noise in coordinate 42 of 500"]
    rows[:, :100] = 0
    assert any("101 of 500 coordinates" in text or "100 of 500" in text for text in texts(rows))


def test_weak_noise_is_told_with_both_deviations():
    found = check_noise(noise(stddev=10.0), 20.0)
    assert found.too_weak
    assert "grid units where 20 are stated" in found.findings[0].text
    assert found.high < 20


def test_rounds_alike_say_nothing_of_single_coordinates():
    once = noise(1)
    found = check_noise(np.repeat(once * 20 / np.sqrt(np.mean(once**2)), 8, axis=0), 20.0)
    assert found.repeated
    assert abs(found.correlation) > found.correlation_limit
    assert not found.too_weak


def test_a_wrong_shape_is_told_with_shares():
    found = check_noise(np.abs(noise()), 20.0)
    assert found.misshapen
    shape = [one.text for one in found.findings if one.fault is NoiseFault.MISSHAPEN]
    assert "0.00% of the noise lies at or below" in shape[0]
    assert "8 of 8 rounds" in shape[1]


def test_the_same_findings_in_any_integer_type():
    rows = np.abs(noise())
    assert check_noise(rows.astype(">i4"), np.float32(20)) == check_noise(rows, 20.0)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 2.0, "1e-6", True])
def test_false_alarm_rates_are_probabilities(bad):
    with pytest.raises(InvalidParameterError, match="false_alarm"):
        check_noise(noise(), 20.0, false_alarm=bad)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InvalidParameterError, match="16 coordinates"):
        check_noise(np.zeros((2, 15)), 1.0)
    with pytest.raises(NonFiniteError):
        check_noise(np.full((1, 20), np.inf), 1.0)
