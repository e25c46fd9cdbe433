"""What the masked sum says of a roster is what the protocol proves for it."""

from __future__ import annotations

import pytest

from fedavg import Bfv, OneShot, SecAgg
from secagg.params.derivation import colluders_of


@pytest.mark.parametrize("size", [*range(3, 60), 100, 300])
def test_all_sums_round_shares_of_a_roster_as_the_protocol_does(size):
    """0.07 of 100 is 7.000000000000001 in binary, and 7 clients."""
    for hundredths in range(34):
        rate = hundredths / 100
        expected = max(1, colluders_of(size, rate))
        assert SecAgg(corrupt_rate=rate).colluders(size) == expected
        assert Bfv(corrupt_rate=rate).colluders(size) == expected
        assert OneShot(corrupt_rate=rate).colluders(size) == expected


def test_a_rate_that_binary_makes_larger_is_no_client_more():
    assert SecAgg(corrupt_rate=0.07).colluders(100) == 7
