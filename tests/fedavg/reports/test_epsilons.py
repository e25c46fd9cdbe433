"""An epsilon in print: small ones keep their digits."""

from __future__ import annotations

import pytest

from fedavg.reports.epsilons import epsilon_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "no bound"),
        (0.0, "0.00"),
        (0.004, "0.004"),
        (1e-6, "1e-06"),
        (0.0999, "0.1"),
        (0.1, "0.10"),
        (2.586, "2.59"),
        (15.633, "15.63"),
    ],
)
def test_no_epsilon_above_zero_prints_as_zero(value, text):
    assert epsilon_text(value) == text
