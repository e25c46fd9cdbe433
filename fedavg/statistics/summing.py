"""One secure sum over all silos; every silo is in it, or there is no result."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from fedavg.errors import PlanError, RoundAbortedError
from fedavg.sums.interface import SumSpec
from fedavg.sums.once import sum_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import SecureSum

__all__ = ["check_silos", "largest_input", "spec_of", "total_of"]

_SUM_BITS = 56  # every secure sum of this package adds such numbers in int64


def largest_input(silos: int) -> int:
    """The largest magnitude of a coordinate that so many silos can add."""
    return 1 << (_SUM_BITS - silos.bit_length())


def spec_of(silos: int, length: int, context: bytes = b"statistics") -> SumSpec:
    """The public facts of a sum of statistics."""
    return SumSpec(length, largest_input(silos), None, silos, context)


def check_silos(secure_sum: SecureSum, silos: int, least: int) -> None:
    """Refuse sums over so few silos that one silo could be read off them.

    Raises:
        PlanError: there are fewer than `least` silos, or than the secure sum needs.
    """
    needed = max(least, secure_sum.smallest_cohort())
    if silos < needed:
        raise PlanError(
            f"there are {silos} silos, and statistics need {needed} or more: a sum over fewer would tell of "
            f"a single one (min_silos is {least}; {secure_sum.kind} needs {secure_sum.smallest_cohort()})"
        )


def total_of(secure_sum: SecureSum, vectors: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sum one vector of each silo.

    Args:
        secure_sum: any secure sum.
        vectors: int64[d] of each silo, within `largest_input`.

    Raises:
        RoundAbortedError: a silo is missing from the sum, which is then not used.
        The secure sum's own errors.
    """
    # A name of its own for every sum, so that no message of one fits another.
    context = b"statistics " + secrets.token_bytes(16)
    result = sum_once(
        secure_sum,
        dict(enumerate(vectors)),
        max_abs=largest_input(len(vectors)),
        context=context,
    )
    if set(result.survivors) != set(range(len(vectors))):
        raise RoundAbortedError(
            f"{len(vectors) - len(result.survivors)} of {len(vectors)} silos are missing from the sum: "
            "nothing is released; ask again"
        )
    return result.total
