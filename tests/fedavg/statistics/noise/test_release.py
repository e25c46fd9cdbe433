"""Noisy statistics: intervals that cover, noise of the claimed strength, and a charge before any vector."""

import math

import numpy as np
import pytest
from scipy.stats import binom, chi2

from dp import BudgetExhaustedError, InvalidParameterError, Ledger
from fedavg import Bfv, Ckks, DistributedDiscreteGaussian, DistributedSkellam, InsecurePlain, SecAgg
from fedavg.statistics import (
    PrivacyBudget,
    Question,
    Record,
    SiloRows,
    Silos,
    Variable,
    summarise,
    summing,
)
from fedavg.statistics.noise import release
from tests.fedavg.support.silos import SEXES, WARDS, pooled, silos

ASKED = Question(bins=16, tables=(("sex", "ward"),), correlate=("age", "dose"))
BUDGET = PrivacyBudget(2.0, 1e-6)
TRIALS = 300


def _truth(of):
    """By statistic, the exact value of the pooled and clamped rows."""
    values = pooled(of)
    exact = summarise(of, Question(tables=ASKED.tables, correlate=ASKED.correlate, min_people=1))
    found = {"rows": exact.rows.value}
    for name in ("age", "dose"):
        column, there = exact.column(name), values[name][~np.isnan(values[name])]
        found |= {f"{name} missing": column.missing.value, f"{name} mean": column.mean.value}
        found |= {f"{name} deviation": column.deviation.value}
        for level in ASKED.quantiles:
            found[f"{name} {level}"] = np.quantile(there, level, method="inverted_cdf")
    for name, words in (("sex", SEXES), ("ward", WARDS)):
        counts = np.bincount(
            values[name][~np.isnan(values[name])].astype(int), minlength=len(words)
        )
        found |= {f"{name} {word}": count for word, count in zip(words, counts, strict=True)}
    found["correlation"] = exact.correlations[0].figure.value
    found["F × A"] = float(((values["sex"] == 0) & (values["ward"] == 0)).sum())
    return found


def _figures(summary):
    found = {"rows": summary.rows}
    for name in ("age", "dose"):
        column = summary.column(name)
        found |= {f"{name} missing": column.missing, f"{name} mean": column.mean}
        found |= {f"{name} deviation": column.deviation}
        found |= {f"{name} {q.level}": q.figure for q in column.quantiles}
    for name in ("sex", "ward"):
        found |= {f"{name} {cell.label}": cell.rows for cell in summary.column(name).cells}
    found["correlation"] = summary.correlations[0].figure
    found["F × A"] = summary.tables[0].rows[0][0]
    return found


def _misses(of, trials):
    truth = _truth(of)
    missed = dict.fromkeys(truth, 0)
    for _ in range(trials):
        found = _figures(summarise(of, ASKED, secure_sum=InsecurePlain(), budget=BUDGET))
        for name, want in truth.items():
            figure = found[name]
            assert figure.shown, name
            missed[name] += not figure.low <= want <= figure.high
    return missed


def test_intervals_cover_as_often_as_they_claim():
    """300 releases, 22 statistics.  A statistic that covers with 95 % misses more often than the threshold
    with probability 1e-6 ÷ 22; by the union bound the test fails falsely with probability 1e-6."""
    missed = _misses(silos(sizes=(2000, 3000, 2500, 2500)), TRIALS)
    threshold = binom.isf(1e-6 / len(missed), TRIALS, 0.05)
    assert len(missed) >= 22
    assert threshold < 0.15 * TRIALS  # intervals of half the width miss a third of the time
    assert not {name: count for name, count in missed.items() if count > threshold}


def test_the_coverage_test_notices_intervals_of_half_the_width(monkeypatch):
    ndtri = release.ndtri
    monkeypatch.setattr(release, "ndtri", lambda level: ndtri(level) / 2)
    missed = _misses(silos(sizes=(2000, 3000, 2500, 2500)), 100)
    assert missed["sex F"] > binom.isf(1e-6 / len(missed), 100, 0.05)


@pytest.mark.parametrize("sums", [SecAgg(), Ckks(), Bfv()], ids=["secagg", "ckks", "bfv"])
def test_every_secure_sum_takes_noisy_vectors(sums):
    of = silos(sizes=(300, 300, 300, 300))
    found = summarise(of, Question(bins=8), secure_sum=sums, budget=PrivacyBudget(8.0, 1e-6))
    assert found.rows.low <= 1200 + 100
    assert found.rows.high >= 1200 - 100
    assert found.hidden
    assert found.protection.epsilon_server < found.protection.epsilon_spent <= 8.0


@pytest.mark.parametrize("kind", [DistributedSkellam, DistributedDiscreteGaussian])
def test_every_distributed_noise_serves(kind):
    budget = PrivacyBudget(2.0, 1e-6, noise=kind(1.0))
    found = summarise(silos(), Question(bins=4), budget=budget, secure_sum=InsecurePlain())
    assert found.protection.mechanism == kind.kind
    assert abs(found.rows.value - 2200) < 10 * found.protection.shares[0].deviation


def test_noise_that_cannot_be_drawn_is_refused_before_the_charge(monkeypatch):
    ledger = Ledger(2.1, 1e-6)
    monkeypatch.setattr(release, "share_stddev", lambda *_: 2.0**30)
    with pytest.raises(InvalidParameterError, match="stddev"):
        summarise(silos(), budget=BUDGET, ledger=ledger)
    assert not ledger.history


def test_the_noise_of_a_sum_is_as_strong_as_it_is_claimed(monkeypatch):
    """The sum minus what it would be without noise, in 40 releases of the same rows.

    Its squares are chi-squared; both ends at 5e-7.  A total of half the variance is far outside.
    """
    of = silos(sizes=(50, 60, 70, 80))
    totals, exact, claims = [], [], []
    true = release.total_of

    def seen(secure_sum, vectors):
        totals.append(true(secure_sum, vectors))
        return totals[-1]

    plain = release.Layout.encode

    def encoded(layout, rows):
        exact.append(plain(layout, rows))
        claims.append(layout)
        return exact[-1].copy()

    monkeypatch.setattr(release, "total_of", seen)
    monkeypatch.setattr(release.Layout, "encode", encoded)
    for _ in range(40):
        found = summarise(of, Question(bins=8), secure_sum=InsecurePlain(), budget=BUDGET)
    noise = np.concatenate([t - sum(exact[4 * k : 4 * k + 4]) for k, t in enumerate(totals)])
    cost = found.protection
    honest = (4 - cost.colluders) / 4
    claimed = (cost.noise_multiplier * cost.sensitivity) ** 2 / honest
    statistic = float((noise.astype(float) ** 2).sum()) / claimed
    assert chi2.ppf(5e-7, len(noise)) < statistic < chi2.isf(5e-7, len(noise))
    assert chi2.ppf(5e-7, len(noise)) > 0.6 * len(noise)  # so that half the variance is found


def test_everything_agrees_with_everything():
    found = summarise(silos(), ASKED, secure_sum=InsecurePlain(), budget=BUDGET)
    rows = found.rows.value
    for column in found.columns:
        parts = sum(cell.rows.value for cell in column.cells)
        assert parts == pytest.approx(column.present.value)
        assert parts + column.missing.value == pytest.approx(rows)
    (table,) = found.tables
    sex = found.column("sex")
    own = [*(cell.rows.value for cell in sex.cells), sex.missing.value]
    for row, want in zip(table.rows, own, strict=True):
        assert sum(figure.value for figure in row) == pytest.approx(want)


def test_a_release_is_charged_before_any_vector_is_sent(monkeypatch):
    sent = []
    monkeypatch.setattr(release, "total_of", lambda *_: sent.append(1) or 1 / 0)
    ledger = Ledger(2.1, 1e-6)
    with pytest.raises(ZeroDivisionError):
        summarise(silos(), budget=BUDGET, ledger=ledger, label="mine")
    assert sent == [1]
    assert [charge.label for charge in ledger.history] == ["mine"]
    with pytest.raises(BudgetExhaustedError):
        summarise(silos(), budget=BUDGET, ledger=ledger)
    assert sent == [1]
    assert len(ledger.history) == 1


def test_what_can_be_refused_is_refused_before_the_charge(monkeypatch):
    ledger = Ledger(2.1, 1e-6)

    def refused(self, spec):
        raise RuntimeError("no parameters")

    monkeypatch.setattr(SecAgg, "check", refused)
    with pytest.raises(RuntimeError, match="no parameters"):
        summarise(silos(), budget=BUDGET, ledger=ledger)
    assert not ledger.history


def test_a_sum_in_the_clear_claims_nothing_about_the_server():
    cost = summarise(silos(), budget=BUDGET, secure_sum=InsecurePlain()).protection
    assert cost.epsilon_server is cost.epsilon_spent is None
    assert cost.epsilon_release < BUDGET.epsilon


def test_people_pay_for_all_their_rows_and_for_two_silos():
    people = summarise(silos(people=40, most_rows=3), budget=BUDGET)
    rows = summarise(silos(), budget=BUDGET)
    assert people.protection.most_rows == 3
    assert people.protection.epsilon_two_silos > 2 * people.protection.epsilon_spent
    assert rows.protection.epsilon_two_silos is None
    assert people.rows.value < 40 * 3 * 5 + 400  # rows of each person beyond three are left out


def test_columns_that_nobody_holds_are_withheld_and_not_divided_by():
    rows = tuple(SiloRows({"x": np.full(400, np.nan)}, np.arange(400)) for _ in range(4))
    of = Silos((Variable("x", bounds=(0, 1)),), rows, tuple("abcd"), Record())
    column = summarise(of, budget=BUDGET, secure_sum=InsecurePlain()).column("x")
    assert column.mean.withheld == "the noise drowns it"
    assert not any(quantile.figure.shown for quantile in column.quantiles)


def test_bounds_decide_what_counts_and_not_the_rows():
    """A row far beyond its bounds counts as the bound."""
    values = np.r_[np.full(500, 0.5), np.full(500, 1e6)]
    rows = tuple(SiloRows({"x": values}, np.arange(1000)) for _ in range(4))
    of = Silos((Variable("x", bounds=(0, 1)),), rows, tuple("abcd"), Record())
    column = summarise(of, budget=PrivacyBudget(8.0, 1e-6), secure_sum=InsecurePlain()).column("x")
    assert column.mean.value == pytest.approx(0.75, abs=0.02)
    assert math.isfinite(column.variance.value)


def test_a_silo_that_is_missing_voids_the_sum(monkeypatch):
    from fedavg.errors import RoundAbortedError

    true = summing.sum_once

    def without_one(secure_sum, vectors, **given):
        vectors.pop(0)
        return true(secure_sum, vectors, **given)

    monkeypatch.setattr(summing, "sum_once", without_one)
    with pytest.raises(RoundAbortedError, match="1 of 5 silos are missing"):
        summarise(silos(), budget=BUDGET, secure_sum=InsecurePlain())
