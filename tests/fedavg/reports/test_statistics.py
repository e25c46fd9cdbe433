"""The page and the tables of statistics: what they draw, what they withhold, and names from the data."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from fedavg import InsecurePlain
from fedavg.errors import ReportError
from fedavg.reports.statistics.figures import column_figure, cross_figure, missing_figure
from fedavg.reports.statistics.page import write_statistics_page
from fedavg.reports.statistics.table import tables
from fedavg.statistics import (
    PrivacyBudget,
    Question,
    Record,
    SiloRows,
    Silos,
    Variable,
    summarise,
)
from fedavg.statistics.summary import Cell, ColumnSummary, CrossTable, Figure
from tests.fedavg.support.pages import Page
from tests.fedavg.support.silos import silos

ASKED = Question(bins=8, tables=(("sex", "ward"),), correlate=("age", "dose"))


def _page(path, summary, title="patients.csv"):
    write_statistics_page(path, summary, title)
    page = Page(path.read_text())
    page.assert_offline()
    return page


@pytest.mark.parametrize("budget", [None, PrivacyBudget(4.0, 1e-6)], ids=["exact", "noisy"])
def test_the_page_draws_every_column_and_says_how_it_was_taken(tmp_path, budget):
    found = summarise(silos(), ASKED, budget=budget)
    page = _page(tmp_path / "p.html", found)
    figures = page.figures()
    assert set(figures) == {
        *(f"column-{number}" for number in range(1, 5)),
        *("missing", "cross-1", "correlations"),
    }
    bars = figures["column-1"]["data"][0]
    assert len(bars["y"]) == 8
    assert ("error_y" in bars) == (budget is not None)
    assert ("Epsilon" in page.words) == (budget is not None)
    assert "Where the guarantee ends" in page.words
    assert ("What each part takes of the budget" in page.words) == (budget is not None)


def test_shares_of_a_row_that_noise_alone_may_have_made_are_not_drawn():
    noise = (Figure(148.0, -67.0, 363.0), Figure(-40.0, -255.0, 175.0))
    there = (Figure(900.0, 700.0, 1100.0), Figure(100.0, -115.0, 315.0))
    exact = (Figure(0.0), Figure(0.0))
    table = CrossTable("a", "b", ("other", "yes", "no"), ("x", "y"), (noise, there, exact))
    assert cross_figure(table)["data"][0]["z"] == [[None, None], [0.9, 0.1], [0.0, 0.0]]


def test_withheld_counts_are_marked_and_not_drawn(tmp_path):
    found = summarise(silos(), ASKED)
    page = _page(tmp_path / "p.html", found)
    cross = page.figures()["cross-1"]["data"][0]
    gone = [
        (i, j)
        for i, row in enumerate(found.tables[0].rows)
        for j, figure in enumerate(row)
        if not figure.shown
    ]
    assert gone
    assert all(cross["z"][i][j] is None and cross["customdata"][i][j] is None for i, j in gone)
    assert "few people or silos" in page.words


def test_names_from_the_data_are_text(tmp_path):
    name = "<script>alert(1)</script>"
    rows = tuple(SiloRows({name: np.arange(30.0) % 2}, np.arange(30)) for _ in range(3))
    of = Silos((Variable(name, ("<b>", "b")),), rows, tuple("abc"), Record())
    page = _page(tmp_path / "p.html", summarise(of), title="<i>t</i>")
    assert name in page.words
    assert "<i>t</i>" in page.words


def test_a_page_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ReportError, match="cannot write"):
        write_statistics_page(tmp_path / "no" / "p.html", summarise(silos(), ASKED), "t")


def _printed(summary, width=160):
    out = io.StringIO()
    console = Console(file=out, width=width)
    for table in tables(summary, "patients.csv"):
        console.print(table)
    return " ".join(out.getvalue().split())


def test_the_terminal_shows_figures_with_their_intervals():
    found = summarise(silos(), ASKED, budget=PrivacyBudget(4.0, 1e-6))
    said = _printed(found)
    rows = found.rows
    assert f"{rows.value:,.0f} [{rows.low:,.0f}, {rows.high:,.0f}]" in said
    assert "sex × ward" in said
    assert "age ~ dose" in said
    assert "times as wide, at the same epsilon" in said


def test_a_sum_in_the_clear_is_named_as_such():
    found = summarise(silos(), ASKED, budget=PrivacyBudget(4.0, 1e-6), secure_sum=InsecurePlain())
    assert "no bound: it sees each silo's vector" in _printed(found)


def test_a_column_of_dates_has_an_axis_of_dates():
    cell = Cell("2021-01-01 … 2021-01-03", Figure(9.0), (18628.0, 18630.0))
    column = ColumnSummary("admitted days", Figure(0.0), Figure(9.0), (cell,), days=True)
    drawn = column_figure(column)
    assert drawn["layout"]["xaxis"]["type"] == "date"
    middle = np.datetime64(int(drawn["data"][0]["x"][0]), "ms")
    assert middle == np.datetime64("2021-01-02")
    assert drawn["data"][0]["width"] == [2 * 86_400_000]


def test_an_estimate_of_no_missing_cells_shows_its_interval():
    """200 rows, of which between 0 and 8 miss a cell: a whisker up to 4 %, within the axis."""
    column = SimpleNamespace(name="age", missing=Figure(0.0, low=0.0, high=8.0))
    found = missing_figure(SimpleNamespace(rows=Figure(200.0), columns=(column,)))
    (bars,) = found["data"]
    assert (bars["x"], bars["error_x"]["array"], bars["error_x"]["arrayminus"]) == (
        [0.0],
        [4.0],
        [0.0],
    )
    assert found["layout"]["xaxis"]["range"][1] > 4.0
    exact = SimpleNamespace(name="age", missing=Figure(8.0))
    (bars,) = missing_figure(SimpleNamespace(rows=Figure(200.0), columns=(exact,)))["data"]
    assert bars["x"] == [4.0]
    assert "error_x" not in bars
