"""The one door: statistics over silos by secure sum, exact or under noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import DataError, PlanError
from fedavg.parts.nearest import offered
from fedavg.statistics.exact.release import exact_summary
from fedavg.statistics.noise.release import noisy_summary
from fedavg.statistics.question import Question
from fedavg.statistics.summing import check_silos
from fedavg.sums.masked import SecAgg

if TYPE_CHECKING:
    from fedavg.statistics.noise.budget import Chargeable, PrivacyBudget
    from fedavg.statistics.silos import Silos
    from fedavg.statistics.summary import Summary
    from fedavg.sums.interface import SecureSum

__all__ = ["summarise"]

_MOST_CELLS = 2_500  # of one table: more would hold a few people each


def summarise(
    silos: Silos,
    question: Question | None = None,
    *,
    secure_sum: SecureSum | None = None,
    budget: PrivacyBudget | None = None,
    ledger: Chargeable | None = None,
    label: str = "statistics",
) -> Summary:
    """Take statistics over all silos; nothing about a single silo is in the result.

    Without a budget the sums are exact: means and variances are the nearest float64 to the exact value, and
    counts of few people or silos are withheld.  With a budget all statistics are one release under noise,
    which is charged before any silo sends anything.

    Args:
        silos: the rows of each silo, of which the unit of privacy is part.
        question: what is asked; None asks the defaults.
        secure_sum: any secure sum; None for SecAgg.
        budget: ε and δ of all statistics together; None for exact sums.
        ledger: charged with the release; it counts one kind of unit, which is the caller's to keep apart.
        label: the charge's label in the ledger.

    Raises:
        PlanError: there are too few silos, or something that has to be public is not declared.
        DataError: the question names a column that does not exist or has another kind.
        dp.BudgetExhaustedError: the ledger has too little left; nothing was sent.
        The secure sum's own errors; a charge that was made before stays.

    Example:
        >>> import numpy as np
        >>> from fedavg.statistics import Record, SiloRows, Silos, Variable
        >>> ages = [np.arange(20.0, 20.0 + n) for n in (30, 40, 50)]
        >>> rows = tuple(SiloRows({"age": age}, np.arange(len(age))) for age in ages)
        >>> silos = Silos((Variable("age", bounds=(0, 120)),), rows, ("A", "B", "C"), Record())
        >>> age = summarise(silos).column("age")
        >>> age.mean.value == float(np.concatenate(ages).mean()), age.present.value
        (True, 120.0)
    """
    question = question or Question()
    secure_sum = secure_sum or SecAgg()
    _check(silos, question)
    check_silos(secure_sum, len(silos.rows), question.min_silos)
    chosen = silos.chosen(question.columns)
    if budget is not None:
        return noisy_summary(chosen, question, secure_sum, budget, ledger, label)
    if ledger is not None:
        raise PlanError(
            "a ledger counts noise, and exact sums have none: give a budget, or leave the ledger out"
        )
    return exact_summary(chosen, question, secure_sum)


def _check(silos: Silos, question: Question) -> None:
    """Refuse a question about columns that are not there, or are of the other kind."""
    known = {variable.name: variable for variable in silos.chosen(question.columns).variables}
    wanted = [
        *((name, True, "a correlation needs numbers") for name in question.correlate),
        *(
            (name, False, "a contingency table needs words")
            for pair in question.tables
            for name in pair
        ),
        *((name, None, "") for name in question.emphasis),
    ]
    for name, measured, why in wanted:
        if name not in known:
            raise DataError(f"no column {name!r} is asked for; {offered(name, known)}")
        if measured is not None and known[name].measured is not measured:
            raise DataError(f"{why}, and {name!r} holds {'words' if measured else 'numbers'}")
    for first, second in question.tables:
        cells = (len(known[first].categories) + 1) * (len(known[second].categories) + 1)
        if cells > _MOST_CELLS:
            raise DataError(
                f"a table of {first!r} and {second!r} has {cells:,} cells, above {_MOST_CELLS:,}: declare "
                "fewer words"
            )
