"""The constants suite: each constant is where it says and is put back; masks and bytes do not follow it."""

from __future__ import annotations

import contextlib
import importlib

import numpy as np
import pytest
from rich.console import Console

from benchmarks import Bench
from benchmarks.constants import rows
from benchmarks.constants.catalogue import CONSTANTS, Constant

VARIED = [constant for constant in CONSTANTS if constant.work is not None]


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda constant: constant.key)
def test_each_constant_stands_where_it_says(constant: Constant) -> None:
    before = constant.value
    assert isinstance(before, int)
    with contextlib.suppress(ZeroDivisionError), constant.moved(before + 1):
        assert constant.value == before + 1
        raise ZeroDivisionError
    assert constant.value == before


def test_what_follows_from_a_value_follows_and_comes_back() -> None:
    masks = importlib.import_module("secagg.crypto.masks")
    constant, before = next(c for c in CONSTANTS if c.derived), masks._ZEROS
    with constant.moved(1024):
        assert len(masks._ZEROS) == 1024
    assert masks._ZEROS is before


def test_masks_and_packed_words_do_not_depend_on_the_constants() -> None:
    from secagg.crypto.masks import add_masks
    from secagg.crypto.ring import pack, unpack

    def results() -> tuple[bytes, bytes, bytes]:
        total = np.zeros(5000, np.uint32)
        add_masks(total, [bytes(16), bytes([1]) * 16])
        packed = pack(total, 26)
        return total.tobytes(), packed, unpack(packed, 5000, 26).tobytes()

    expected = results()
    by_key = {constant.key: constant for constant in CONSTANTS}
    with (
        by_key["secagg.crypto.masks._CHUNK"].moved(4096),
        by_key["secagg.crypto.ring._BLOCK"].moved(64),
    ):
        assert results() == expected


@pytest.mark.usefixtures("each_once")
def test_the_suite_reports_every_constant() -> None:
    bench = Bench("constants", "quick", Console(quiet=True))
    rows.catalogue(bench)
    rows.curves(bench)
    rows.stacking(bench)
    rows.streams(bench)
    tables = {table.key: table for table in bench.tables}
    assert len(tables["catalogue"].rows) == len(CONSTANTS)
    assert [row[0] for row in tables["around"].rows] == [constant.key for constant in VARIED]
    assert len(bench.measures) == len(VARIED)
    assert [row[0] for row in tables["streams"].rows] == ["CTR", "GCM"]
    assert set(bench.curves[0].lines) == {constant.key for constant in VARIED}
