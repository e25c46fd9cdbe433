"""A schema for training out of statistics."""

from fedavg.data.tables.columns import Category, Ignored, Number
from fedavg.data.tables.schemas.schema import Schema, read_schema
from fedavg.statistics import PrivacyBudget, Question, summarise
from fedavg.statistics.feeding import fed_schema, with_bounds
from tests.fedavg.support.silos import SEXES, WARDS, silos

SCHEMA = Schema(
    columns={
        "age": Number(bounds=(0, 120)),
        "dose": Number(bounds=(-50, 100), unit="mg"),
        "sex": Category(categories=SEXES),
        "ward": Category(categories=WARDS),
    }
)


def test_noisy_quantiles_draw_the_bounds_in(tmp_path):
    found = summarise(silos(), Question(quantiles=(0.1, 0.9)), budget=PrivacyBudget(8.0, 1e-6))
    fed_schema(
        tmp_path / "fed.toml",
        SCHEMA,
        found,
        owner="site",
        headings=("site", *SCHEMA.columns, "note"),
    )
    read = read_schema(tmp_path / "fed.toml")
    assert read.declared
    assert read.client == "site"
    low, high = read.columns["age"].bounds
    first, last = (quantile.figure for quantile in found.column("age").quantiles)
    assert 0 <= low <= first.low
    assert last.high <= high < 120
    assert read.columns["dose"].unit == "mg"
    assert read.columns["sex"].categories == SEXES
    assert read.columns["note"] == Ignored()  # training under noise refuses an unnamed column
    assert "site" not in read.columns


def test_bounds_of_exact_sums_are_not_declared_public():
    fed = with_bounds(SCHEMA, summarise(silos()))
    assert not fed.declared
    assert fed.columns["age"].bounds != SCHEMA.columns["age"].bounds


def test_withheld_quantiles_leave_the_bounds_as_they_are():
    found = summarise(silos(sizes=(9, 9, 9)), budget=PrivacyBudget(0.1, 1e-6))
    assert with_bounds(SCHEMA, found).columns == SCHEMA.columns
