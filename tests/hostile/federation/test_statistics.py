"""Attacks on federated statistics: differencing, loud people, colluding silos, and looking behind the sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from dp import Ledger
from fedavg import InsecurePlain, SecAgg
from fedavg.errors import PlanError
from fedavg.statistics import (
    Person,
    PrivacyBudget,
    Question,
    Record,
    SiloRows,
    Silos,
    Variable,
    blocks,
    summarise,
    summing,
)
from fedavg.statistics import question as questions
from fedavg.statistics.exact import numbers, withheld
from fedavg.statistics.exact import release as exact_release
from fedavg.statistics.noise import layout, release
from tests.fedavg.support.silos import silos
from tests.hostile.mutants import without

BUDGET = PrivacyBudget(1.0, 1e-6)
WORDS = ("common", "usual", "rare")


def _patients(rare_at=(0, 1, 2)):
    """Five hospitals; three patients in all have the rare word, one in each of `rare_at`."""
    rows = []
    for silo in range(5):
        codes = np.r_[np.zeros(80 + silo), np.ones(40)]
        codes = np.r_[codes, np.full(rare_at.count(silo), 2.0)]
        sex = np.arange(len(codes)) % 2
        rows.append(SiloRows({"word": codes, "sex": sex.astype(float)}, np.arange(len(codes))))
    names = tuple(f"hospital {silo}" for silo in range(5))
    variables = (Variable("word", WORDS), Variable("sex", ("F", "M")))
    return Silos(variables, tuple(rows), names, Record())


def _subtracted(found):
    """The counts that a reader has: those shown, and those that one subtraction gives."""
    column = found.column("word")
    cells = {cell.label: cell.rows.value for cell in column.cells}
    gone = [word for word, value in cells.items() if value is None]
    if len(gone) == 1 and column.present.value is not None:
        cells[gone[0]] = column.present.value - sum(v for v in cells.values() if v is not None)
    return cells


def _differencing():
    found = _subtracted(summarise(_patients()))
    assert found["rare"] is None, "a subtraction gives the patients of the rare word"


def test_a_rare_count_cannot_be_had_by_subtraction():
    """Complementary disclosure: the total is published, so one withheld count would be its difference."""
    _differencing()


def test_without_further_counts_withheld_the_subtraction_works(monkeypatch):
    monkeypatch.setattr(withheld, "_exposed", lambda *_: [])
    with pytest.raises(AssertionError, match="subtraction"):
        _differencing()


def _table_differencing():
    """A contingency table publishes every margin: the rare row is its column totals minus the others."""
    found = summarise(_patients(rare_at=(0, 0, 1, 1, 2, 3)), Question(tables=(("word", "sex"),)))
    table, sexes = found.tables[0], found.column("sex")
    for at, cell in enumerate(sexes.cells):
        column = [row[at].value for row in table.rows]
        if cell.rows.value is not None and column.count(None) == 1:
            gone = column.index(None)
            value = cell.rows.value - sum(v for v in column if v is not None)
            assert value == 0 or value >= 5, f"{table.first_words[gone]} is {value}"


def test_margins_do_not_give_a_cell_of_a_table_away():
    _table_differencing()


def test_without_the_audit_margins_give_cells_away(monkeypatch):
    monkeypatch.setattr(withheld, "_exposed", lambda *_: [])
    with pytest.raises(AssertionError, match=r"rare is [1-4]"):
        _table_differencing()


def _ages_with_two_missing():
    """Ages with one decimal; two are missing, so that count and the one of the others are withheld."""
    rng = np.random.default_rng(3)
    rows = []
    for silo in range(5):
        age = np.round(rng.uniform(20, 90, 200), 1)
        dose = np.round(rng.uniform(0, 5, 200), 1)
        if silo < 2:
            age[7] = np.nan
        rows.append(SiloRows({"age": age, "dose": dose}, np.arange(200)))
    variables = (Variable("age", bounds=(0.0, 120.0)), Variable("dose", bounds=(0.0, 5.0)))
    return Silos(variables, tuple(rows), tuple("abcde"), Record())


def _recovered():
    found = summarise(_ages_with_two_missing(), Question(correlate=("age", "dose")))
    age = found.column("age")
    assert age.missing.value is None
    assert age.present.value is None
    assert found.column("dose").mean.shown
    if age.mean.value is not None:
        # A sum of numbers with one decimal, times ten, is whole: only the true number of rows makes it so.
        tenths = {n: age.mean.value * n * 10 for n in range(1000, 900, -1)}
        fit = [n for n, sum_ in tenths.items() if abs(sum_ - round(sum_)) < 1e-6]
        assert fit != [998], "the mean tells the withheld count"
    figures = [age.variance, age.deviation, *(quantile.figure for quantile in age.quantiles)]
    figures += [pair.figure for pair in found.correlations]
    assert {figure.withheld for figure in figures} == {withheld.OTHERS}


def test_a_withheld_count_cannot_be_had_from_the_mean():
    _recovered()


def test_without_means_withheld_along_with_their_counts_the_mean_tells_the_count(monkeypatch):
    monkeypatch.setattr(exact_release, "_over", lambda figure, counts: figure)
    with pytest.raises(AssertionError, match="the mean tells"):
        _recovered()


def _tail_told():
    """Four people hold 7, and the eight of 3 are withheld beside them; a quantile lies in that tail."""
    rows = []
    for _ in range(4):
        values = np.repeat([0.0, 1.0, 2.0, 3.0, 7.0], [40, 30, 20, 2, 1])
        rows.append(SiloRows({"x": values + 0.5}, np.arange(93)))
    of = Silos((Variable("x", bounds=(0.0, 8.0)),), tuple(rows), tuple("abcd"), Record())
    column = summarise(of, Question(bins=8, quantiles=(0.5, 0.985), min_people=5)).column("x")
    hidden = [cell.rows.shown for cell in column.cells].index(False)
    middle, tail = (quantile.figure for quantile in column.quantiles)
    assert middle.shown
    assert not tail.shown or tail.high <= column.cells[hidden].edges[0], "a quantile tells of it"


def test_a_quantile_among_withheld_bins_is_withheld():
    _tail_told()


def test_without_that_rule_a_quantile_tells_of_withheld_bins(monkeypatch):
    monkeypatch.setattr(numbers, "_narrows", lambda *_: False)
    with pytest.raises(AssertionError, match="tells of it"):
        _tail_told()


def test_a_word_of_one_hospital_is_withheld_however_many_patients_have_it():
    found = summarise(_patients(rare_at=(2,) * 60))
    assert _subtracted(found)["rare"] is None
    # With a rule of one silo the count of the one hospital is shown.
    assert _subtracted(summarise(_patients(rare_at=(2,) * 60), Question(min_silos=1)))["rare"] == 60


def test_two_silos_are_refused_by_every_sum():
    """With two, each subtracts its own rows and has the other's."""
    of = silos(sizes=(300, 300))
    for sums in (SecAgg(), InsecurePlain()):
        with pytest.raises(PlanError, match="2 silos"):
            summarise(of, secure_sum=sums)


def _loud(people=1, rows=400, most=3):
    """One patient with many visits at the bounds, as far out as possible, beside quiet ones."""
    age = np.r_[np.full(people * rows, 120.0), np.full(50, 60.0)]
    owner = np.r_[np.repeat(np.arange(people), rows), 1000 + np.arange(50)]
    variable = Variable("age", bounds=(0.0, 120.0))
    return SiloRows({"age": age}, owner), variable, most


def _moved_by_one():
    everybody, variable, most = _loud()
    asked = layout.asked(Question(bins=4), [variable])
    made = layout.laid_out(asked.all, Question(bins=4), most, 3.7, 2.0**21)
    quiet = everybody.taken(np.flatnonzero(everybody.people >= 1000))
    moved = made.encode(everybody.at_most(most)) - made.encode(quiet.at_most(most))
    assert sum(int(x) ** 2 for x in moved.tolist()) <= made.squared, "one patient moves too much"


def test_a_patient_of_many_visits_moves_no_more_than_the_noise_is_sized_for():
    """Sampling by row with a patient of 400 rows: the claim of one row would be a claim for nobody."""
    _moved_by_one()


def test_without_the_cap_one_patient_moves_too_much(monkeypatch):
    monkeypatch.setattr(SiloRows, "at_most", lambda rows, most: rows)
    with pytest.raises(AssertionError, match="moves too much"):
        _moved_by_one()


def test_with_a_cap_that_is_off_by_one_one_patient_moves_too_much(monkeypatch):
    mutant = without(monkeypatch, questions, "capped", "place < most", "place <= most")
    monkeypatch.setattr("fedavg.statistics.silos.capped", mutant)
    with pytest.raises(AssertionError, match="moves too much"):
        _moved_by_one()


def _moved_by_a_giant():
    variable = Variable("dose", bounds=(-7.3, 11.9))
    asked = layout.asked(Question(bins=4), [variable])
    made = layout.laid_out(asked.all, Question(bins=4), 1, 3.7, 2.0**21)
    for dose in (1e3, -1e3):
        moved = made.encode(SiloRows({"dose": np.array([dose])}, np.array([0])))
        assert sum(int(x) ** 2 for x in moved.tolist()) <= made.squared, "moves too much"


def test_a_number_beyond_its_bounds_moves_no_more_than_the_bound():
    _moved_by_a_giant()


def test_without_the_clamp_it_moves_too_much(monkeypatch):
    def unclamped(rows, variable):
        low, high = variable.bounds
        values = rows.values[variable.name]
        return ~np.isnan(values), (values - (low + high) / 2) / ((high - low) / 2)

    monkeypatch.setattr(blocks, "_standard", unclamped)
    with pytest.raises(AssertionError, match="moves too much"):
        _moved_by_a_giant()


def _left_over(monkeypatch, releases=30):
    """What the server and one colluding silo cannot subtract: the noise of the others, standardised.

    They know the exact total of all silos in this test (the worst case), the sum, and the colluder's share.
    """
    of = silos(sizes=(40, 50, 60, 70))
    sent, exact, left = [], [], []
    encode, total_of = layout.Layout.encode, release.total_of

    def encoded(made, rows):
        exact.append(encode(made, rows))
        return exact[-1].copy()

    def seen(sums, vectors):
        sent.extend(vectors)
        total = total_of(sums, vectors)
        share = vectors[0] - exact[-4]
        left.append((total - sum(exact[-4:]) - share).astype(float))
        return total

    monkeypatch.setattr(layout.Layout, "encode", encoded)
    monkeypatch.setattr(release, "total_of", seen)
    for _ in range(releases):
        cost = summarise(of, Question(bins=8), secure_sum=InsecurePlain(), budget=BUDGET).protection
    return np.concatenate(left) / (cost.noise_multiplier * cost.sensitivity)


def _noise_is_left(monkeypatch):
    """χ² of all coordinates of 30 releases; less than claimed fails falsely with probability 1e-6."""
    left = _left_over(monkeypatch)
    assert float((left**2).sum()) > chi2.ppf(1e-6, len(left)), "too little noise is left"


def test_the_server_with_a_silo_still_faces_the_noise_that_is_claimed(monkeypatch):
    _noise_is_left(monkeypatch)


def test_shares_sized_for_all_silos_leave_too_little(monkeypatch):
    """The mutant forgets that a colluder knows its own share: V·(n − c) ÷ n is 3/4 of the claim."""
    true = release.share_stddev
    monkeypatch.setattr(
        release, "share_stddev", lambda noise, moved, honest, n: true(noise, moved, 1.0, n)
    )
    with pytest.raises(AssertionError, match="too little noise"):
        _noise_is_left(monkeypatch)


def test_no_exact_sum_reaches_the_server(monkeypatch):
    """Every coordinate of a release has noise: with 30 of them equal to the truth never."""
    left = _left_over(monkeypatch)
    assert np.count_nonzero(left) > 0.999 * len(left)


def test_nothing_that_a_silo_sends_depends_on_its_rows_but_the_vector(monkeypatch):
    """Empty silos, enormous ones and silos of missing cells send vectors of one length, and none refuses."""
    rng = np.random.default_rng(0)
    shapes = (np.zeros(0), np.full(30_000, 119.0), np.full(10, np.nan), rng.uniform(0, 120, 99))
    rows = tuple(SiloRows({"age": age}, np.arange(len(age))) for age in shapes)
    of = Silos((Variable("age", bounds=(0, 120)),), rows, tuple("abcd"), Record())
    seen = []
    true = summing.sum_once

    def spied(sums, vectors, **given):
        received = []
        result = true(sums, vectors, received=received, **given)
        seen.extend(received)
        return result

    monkeypatch.setattr(summing, "sum_once", spied)
    summarise(of, Question(bins=4), budget=BUDGET)
    lengths: dict[int, list[int]] = {}
    for sender, message in seen:
        lengths.setdefault(sender, []).append(len(message))
    assert len(lengths) == 4
    assert len({tuple(own) for own in lengths.values()}) == 1


def test_an_error_of_the_sum_shows_no_rows_and_keeps_the_charge(monkeypatch):
    ledger = Ledger(1.0, 1e-6)

    def broken(sums, vectors, **given):
        raise RuntimeError("the network is down")

    monkeypatch.setattr(summing, "sum_once", broken)
    of = silos()
    with pytest.raises(RuntimeError) as caught:
        summarise(of, budget=BUDGET, ledger=ledger)
    assert len(ledger.history) == 1
    assert "SiloRows(<private>)" in repr(of.rows[0])
    assert str(float(of.rows[0].values["dose"][0])) not in str(caught.value)


def test_a_ledger_never_pays_for_less_than_was_released():
    """The charged event is that of the server with the colluding silos, not the smaller one of readers."""
    ledger = Ledger(math.inf, 1e-6)
    cost = summarise(silos(), budget=BUDGET, ledger=ledger).protection
    assert ledger.spent().high == cost.epsilon_spent > cost.epsilon_release


def test_the_rows_that_a_cap_leaves_are_a_draw_and_not_the_first_ones():
    """A fixed choice would let a person see which rows count; 40 draws of 1 in 20 rows repeat with 1e-50."""
    rows = SiloRows({"x": np.arange(20.0)}, np.zeros(20, np.int64))
    assert len({float(rows.at_most(1).values["x"][0]) for _ in range(40)}) > 1
    assert Person("p", 1).most_rows == 1
