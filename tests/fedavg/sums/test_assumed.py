"""Shares of a cohort in words."""

from __future__ import annotations

import pytest

from fedavg import SecAgg
from fedavg.sums.assumed import at_most
from fedavg.sums.interface import SumSpec


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.1, "at most 10% of each cohort"),
        (0.004, "at most 0.4% of each cohort"),
        (0.0, "no clients"),
    ],
)
def test_a_small_share_is_not_rounded_to_none(share: float, words: str) -> None:
    assert at_most(share) == words


def test_a_sum_without_drop_outs_says_that_there_are_none() -> None:
    assert "No clients drop out; beyond that, a round gives no sum." in SecAgg(
        dropout_rate=0.0
    ).assumptions(SumSpec(5000, 1000, None, 10, b"any sum"))
