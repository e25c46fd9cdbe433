"""The compression suite at tiny sizes: cases differ, bytes are what messages take, tables have their rows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import Bench
from benchmarks.compression import tables
from benchmarks.compression.task import Setting, Traffic
from fedavg.encoding.broadcast import ModelCodec
from fedavg.models.layout import Layout


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting.of(rounds=1, seeds=1)


def test_cases_have_names_of_their_own_and_change_one_plan_each(setting: Setting) -> None:
    cases = tables.cases(setting, (1, 2, 32))
    assert len(cases) == 1 + 3 * 4 + 6 + 1 + 3
    assert len({repr(changes) for changes in cases.values()}) == len(cases)
    assert cases[tables._EXACT] == {}
    assert cases[tables._NARROW]["encoding"].bits == 2


def test_the_range_comes_from_a_pilot_and_is_as_wide_with_a_rotation(setting: Setting) -> None:
    assert 0 < setting.beyond < 0.05
    rotated = tables.cases(setting, (2,))[tables._NARROW]["encoding"]
    assert rotated.range(setting.parameters) == pytest.approx(setting.flat_range, rel=0.15)


def test_bytes_are_those_of_the_messages(setting: Setting) -> None:
    cases = tables.cases(setting, (2,))
    whole, narrow = (setting.traffic("secagg", **cases[name]) for name in (tables._EXACT, "2 bits"))
    assert whole.up / 4.8 < narrow.up < whole.up / 3
    assert whole.up > 3.0  # 24 bits of 10·(2^20 − 1) residues, and keys and shares
    sent = setting.traffic("bfv", **cases["download int4"]).model
    model = setting._spec(0).build()
    size = ModelCodec("int4", Layout.of(model)).size
    assert sent == pytest.approx(size / setting.parameters, abs=0.002)
    assert whole.model == pytest.approx(4, abs=0.002)


def test_a_run_fills_every_table(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    every = tables.cases(setting, (2,))
    kept = [tables._EXACT, tables._NARROW, "random 10 %", "random 50 %"]
    few = {name: every[name] for name in (*kept, *(n for n in every if n.startswith("download")))}
    monkeypatch.setattr(tables, "cases", lambda *_: few)
    monkeypatch.setattr(
        Setting, "traffic", lambda self, kind, **_: Traffic(2.0 if kind == "bfv" else 1.0, 4.0, 5.0)
    )
    monkeypatch.setattr(
        Setting, "widely", lambda self, kind, **changes: Traffic(1.0 if changes else 5.0, 4.0, 5.0)
    )
    bench = Bench("compression", "quick", Console(file=io.StringIO(), width=200))
    tables.run(bench, setting)
    uploads, downloads, wide = bench.tables
    assert [row[0] for row in uploads.rows] == kept
    assert [row[0] for row in downloads.rows] == ["float32", "float16", "int8", "int4"]
    assert [row[0] for row in wide.rows] == [tables._EXACT, "2 bits", "random 10 %, 2 bits"]
    assert {m.key: m.ratio for m in bench.measures if m.key.startswith("upload")} == {
        "upload_secagg": 5.0,
        "upload_bfv": 5.0,
    }
    assert all(len(row) == len(uploads.columns) for row in uploads.rows)
