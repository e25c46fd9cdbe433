"""One secure sum over all silos."""

import numpy as np
import pytest

from fedavg import Bfv, Ckks, InsecurePlain, SecAgg
from fedavg.errors import PlanError
from fedavg.statistics.summing import check_silos, largest_input, spec_of, total_of


@pytest.mark.parametrize("sums", [SecAgg(), Ckks(), Bfv(), InsecurePlain()], ids=lambda s: s.kind)
@pytest.mark.parametrize("silos", [4, 7])
def test_the_largest_numbers_are_added_exactly(sums, silos):
    most = largest_input(silos)
    vectors = [np.array([most, -most, most - place, place]) for place in range(silos)]
    total = total_of(sums, vectors)
    assert total.tolist() == [silos * most, -silos * most, *np.sum(vectors, axis=0)[2:].tolist()]


@pytest.mark.parametrize("silos", [3, 100, 5000, 100_000])
def test_any_number_of_silos_fits_the_integers_of_a_sum(silos):
    assert spec_of(silos, 10).modulus_bits <= 60


def test_too_few_silos_are_refused_by_both_rules():
    with pytest.raises(PlanError, match="secagg needs 3"):
        check_silos(SecAgg(), 2, 1)
    with pytest.raises(PlanError, match="min_silos is 3"):
        check_silos(InsecurePlain(), 2, 3)
