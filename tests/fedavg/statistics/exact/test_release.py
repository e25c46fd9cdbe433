"""Exact statistics against NumPy and pandas on the pooled rows."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from fedavg import Bfv, Ckks, InsecurePlain, SecAgg
from fedavg.errors import DataError, PlanError
from fedavg.statistics import Person, Question, Record, SiloRows, Silos, Variable, summarise
from tests.fedavg.support.silos import SEXES, WARDS, pooled, silos

ASKED = Question(tables=(("sex", "ward"),), correlate=("age", "dose"), min_silos=1, min_people=1)


@pytest.fixture(scope="module", params=[True, False], ids=["declared bounds", "no bounds"])
def told(request):
    of = silos(bounds=request.param)
    return of, pd.DataFrame(pooled(of)), summarise(of, ASKED)


def test_rows_and_missing_cells(told):
    of, frame, found = told
    assert found.rows.value == len(frame)
    assert found.silos == len(of.rows)
    for name in frame:
        column = found.column(name)
        assert column.missing.value == frame[name].isna().sum()
        assert column.present.value == frame[name].notna().sum()


@pytest.mark.parametrize("name", ["age", "dose"])
def test_mean_and_variance_are_the_nearest_floats_to_the_exact_ones(told, name):
    _, frame, found = told
    values = [Fraction(value) for value in frame[name].dropna().tolist()]
    n, first = len(values), sum(values)
    column = found.column(name)
    assert column.mean.value == float(first / n) == math.fsum(frame[name].dropna()) / n
    spread = sum(value * value for value in values) - first * first / n
    assert column.variance.value == float(spread / (n - 1))
    assert column.variance.value == pytest.approx(frame[name].var(), rel=1e-12)
    assert column.deviation.value == pytest.approx(frame[name].std(), rel=1e-12)


@pytest.mark.parametrize("name", ["age", "dose"])
def test_quantiles_lie_in_their_bins(told, name):
    _, frame, found = told
    for quantile in found.column(name).quantiles:
        figure = quantile.figure
        want = np.quantile(frame[name].dropna(), quantile.level, method="inverted_cdf")
        assert figure.low <= want <= figure.high
        assert figure.low <= figure.value <= figure.high


@pytest.mark.parametrize("name", ["age", "dose"])
def test_histograms_count_every_cell_once(told, name):
    _, frame, found = told
    cells = found.column(name).cells
    values = frame[name].dropna().to_numpy()
    assert sum(cell.rows.value for cell in cells) == len(values)
    inside = [cell for cell in cells if None not in cell.edges]
    edges = [inside[0].edges[0], *(cell.edges[1] for cell in inside)]
    assert [cell.rows.value for cell in inside] == np.histogram(values, edges)[0].tolist()


def test_words_and_tables_are_those_of_pandas(told):
    _, frame, found = told
    for name, words in (("sex", SEXES), ("ward", WARDS)):
        counts = frame[name].value_counts()
        shown = {cell.label: cell.rows.value for cell in found.column(name).cells}
        assert shown == {word: counts.get(code, 0) for code, word in enumerate(words)}
    (table,) = found.tables
    want = pd.crosstab(frame.sex.fillna(3), frame.ward.fillna(4)).reindex(
        index=range(4), columns=range(5), fill_value=0
    )
    assert [[figure.value for figure in row] for row in table.rows] == want.to_numpy().tolist()


def test_correlations_are_those_of_pandas(told):
    _, frame, found = told
    (pair,) = found.correlations
    assert pair.figure.value == pytest.approx(frame.age.corr(frame.dose), rel=1e-12)


@pytest.mark.parametrize("sums", [Ckks(), Bfv(), InsecurePlain()], ids=["ckks", "bfv", "plain"])
def test_every_secure_sum_gives_the_same(sums):
    of = silos(sizes=(60, 70, 80, 90))
    asked = Question(bins=4, correlate=("age", "dose"))
    found = summarise(of, asked, secure_sum=sums)
    want = summarise(of, asked, secure_sum=SecAgg())
    assert found.csv() == want.csv()


def test_people_are_counted_and_not_their_rows():
    """Every silo has one man with thirty visits: 90 rows, and three people."""
    rows = []
    for silo in range(3):
        sex = np.r_[np.zeros(60), np.ones(30), np.full(60, 2.0)]
        people = np.r_[np.arange(60), np.full(30, 1000), np.arange(100, 160)] + 2000 * silo
        rows.append(SiloRows({"sex": sex}, people))
    of = Silos((Variable("sex", ("F", "M", "X")),), tuple(rows), ("a", "b", "c"), Person("p"))
    cells = {cell.label: cell.rows for cell in summarise(of).column("sex").cells}
    assert cells["M"].withheld == "few people or silos"
    assert sum(cell.value is None for cell in cells.values()) == 2


def test_a_column_of_one_silo_has_no_mean_and_no_histogram():
    rng = np.random.default_rng(5)
    rows = [
        SiloRows({"x": rng.normal(size=50) if k == 0 else np.full(50, np.nan)}, np.arange(50))
        for k in range(4)
    ]
    of = Silos((Variable("x"),), tuple(rows), tuple("abcd"), Record())
    column = summarise(of).column("x")
    assert not column.mean.shown
    assert not column.variance.shown
    assert not any(quantile.figure.shown for quantile in column.quantiles)
    assert column.cells == ()
    assert not column.present.shown
    assert not column.missing.shown  # or rows − missing would be the silo's 50


def test_a_constant_column_and_extreme_magnitudes():
    values = {"flat": np.full(40, 7.0), "large": np.r_[np.full(39, 1e30), -1e30]}
    values |= {"small": np.full(40, 1e-20)}
    rows = tuple(SiloRows(values, np.arange(40)) for _ in range(3))
    of = Silos(tuple(map(Variable, values)), rows, tuple("abc"), Record())
    found = summarise(of, Question(correlate=("flat", "large")))
    assert found.column("flat").mean.value == 7.0
    assert found.column("flat").variance.value == 0.0
    assert found.column("large").mean.value == 0.95 * 1e30
    assert found.column("small").mean.value == 1e-20
    assert found.correlations[0].figure.withheld == "does not vary"


def test_nothing_is_shown_of_too_few_people_or_silos():
    with pytest.raises(PlanError, match="2 silos"):
        summarise(silos(sizes=(100, 100)), secure_sum=InsecurePlain())
    with pytest.raises(PlanError, match="3 silos, and statistics need 4"):
        summarise(silos(sizes=(100, 100, 9)), Question(min_silos=4))
    with pytest.raises(DataError, match="nothing can be shown"):
        summarise(silos(sizes=(2, 1, 1)))
    with pytest.raises(DataError, match="nothing can be shown"):
        summarise(silos(sizes=(300, 0, 0)))


def test_numbers_beyond_declared_bounds_are_counted_beside_the_histogram():
    values = np.r_[np.linspace(0, 10, 60), np.full(20, 99.0)]
    rows = tuple(SiloRows({"x": values}, np.arange(80)) for _ in range(3))
    of = Silos((Variable("x", bounds=(0, 10)),), rows, tuple("abc"), Record())
    cells = summarise(of, Question(bins=4)).column("x").cells
    assert (cells[-1].label, cells[-1].rows.value) == ("above 10", 60)
    assert sum(cell.rows.value for cell in cells) == 240


def test_extreme_quantiles_are_withheld():
    asked = Question(bins=4, quantiles=(0.01, 0.5, 0.99))
    found = summarise(silos(sizes=(30, 30, 30)), asked)
    shown = [quantile.figure.shown for quantile in found.column("dose").quantiles]
    assert shown == [False, True, False]


def test_the_value_of_a_quantile_is_a_round_number_and_not_interpolated():
    """Of whole numbers the quantile is the truth; interpolation would tell the counts of a 1,024th part."""
    rows = [SiloRows({"days": np.arange(300.0) % 17}, np.arange(300)) for _ in range(4)]
    of = Silos((Variable("days"),), tuple(rows), tuple("abcd"), Record())
    found = summarise(of).column("days")
    pooled_days = np.concatenate([silo.values["days"] for silo in rows])
    shown = [quantile.figure.value for quantile in found.quantiles]
    levels = [quantile.level for quantile in found.quantiles]
    assert shown == np.quantile(pooled_days, levels, method="inverted_cdf").tolist()
