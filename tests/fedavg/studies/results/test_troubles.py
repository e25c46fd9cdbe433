"""Refused cells by reason: how many, what they share, and in what they differ."""

from __future__ import annotations

from fedavg.studies.results.table import Row, Table
from fedavg.studies.results.troubles import notices_of, troubles_of


def row(state, reason, **settings):
    named = {key.replace("_", ".", 1): value for key, value in settings.items()}
    return Row("", state, reason, named, {})


def table(*rows):
    return Table("A study", rows, 0, ())


def test_one_reason_is_one_entry_with_what_is_shared_and_what_differs():
    rows = [
        row(
            "refused",
            f"a cohort of {n} is too small",
            cohort_rate=rate,
            secure_sum="bfv",
            seed=seed,
        )
        for n, rate in ((3, 0.1), (7, 0.05))
        for seed in (0, 1, 10)
    ]
    rows.append(row("refused", "another reason", cohort_rate=0.5, secure_sum="ckks", seed=0))
    rows.append(row("done", "", cohort_rate=0.5, secure_sum="secagg", seed=0))
    first, second = troubles_of(table(*rows))
    assert (first.cells, first.reason) == (6, "a cohort of 3 is too small")
    assert "bfv" in first.shared
    assert first.differs == (("cohort.rate", "0.05, 0.1"), ("seed", "0, 1, 10"))
    assert (second.cells, second.differs) == (1, ())
    assert "ckks" in second.shared


def test_words_of_the_cells_own_settings_do_not_part_them():
    rows = [
        row("refused", f"too few for {kind}, which is no {kind}", secure_sum=kind)
        for kind in ("bfv", "insecure-plain")
    ]
    (only,) = troubles_of(table(*rows))
    assert only.differs == (("secure.sum", "bfv, insecure-plain"),)


def test_what_other_cells_have_too_explains_nothing():
    rows = [row("failed", "x", a_b=1, seed=0), row("done", "", a_b=1, seed=1)]
    (only,) = troubles_of(table(*rows))
    assert (only.state, only.shared) == ("failed", "seed 0")


def test_many_values_are_counted_instead_of_listed():
    rows = [row("refused", "x", seed=seed) for seed in range(20)]
    (only,) = troubles_of(table(*rows))
    assert only.differs == (("seed", "0, 1, 2, 3, 4, 5, 6, 7 and 12 more"),)
    assert troubles_of(table()) == ()


def test_one_warning_of_many_cells_is_one_notice():
    rows = [
        Row("", "done", "", {"privacy.epsilon": epsilon, "seed": seed}, {"warnings": [text]})
        for epsilon, text in (
            (1.0, "the noise is 2 times as long"),
            (2.0, "the noise is 1.5 times as long"),
        )
        for seed in (0, 1)
    ]
    rows.append(Row("", "done", "", {"privacy.epsilon": 8.0, "seed": 0}, {"warnings": []}))
    (only,) = notices_of(table(*rows))
    assert (only.state, only.cells, only.reason) == ("warned", 4, "the noise is 2 times as long")
    assert only.differs == (("privacy.epsilon", "1.0, 2.0"), ("seed", "0, 1"))
