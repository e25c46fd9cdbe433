"""Results on the documents' page: each suite's place is rewritten from its file, and nothing else."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import Bar, Bench, Curve, Measure, Table, Timing
from benchmarks.__main__ import available
from benchmarks.kit import document
from benchmarks.kit.report import write_files

_PAGE = (
    "before\n<!-- results: demo -->\nold\n<!-- /results -->\n"
    "between\n<!-- results: other -->\nkept\n<!-- /results -->\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bench = Bench("demo", "quick", Console(file=io.StringIO()))
    bench.add(
        Measure("a", "speed", "s", Timing.of([0.5, 0.4, 0.6]), peer=2.0, bar=Bar(5), note="how"),
        Curve("c", "growth", "n", "s", {"ours": [(1, 1), (10, 100)]}),
        Table("t", "paper", ("n", "k"), [(10, 9.5)]),
    )
    write_files(bench, tmp_path)
    (tmp_path / "page.md").write_text(_PAGE, encoding="utf-8")
    return tmp_path


def test_a_suites_place_is_rewritten_and_the_rest_kept(folder: Path) -> None:
    page = folder / "page.md"
    assert document.main([str(folder), "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "| speed | 0.5 (0.45–0.55) | 2 | s | 4 | ≥ 5 | – | **no** |" in text
    assert "- speed: how." in text
    assert "ours n^2.00" in text
    assert "| 10 | 9.5 |" in text
    assert "old" not in text
    assert "before\n" in text
    assert "\nbetween\n<!-- results: other -->\nkept\n<!-- /results -->\n" in text


def test_rewriting_twice_changes_nothing(folder: Path) -> None:
    page = folder / "page.md"
    document.main([str(folder), "--page", str(page)])
    once = page.read_text(encoding="utf-8")
    document.main([str(folder), "--page", str(page)])
    assert page.read_text(encoding="utf-8") == once


def test_the_pages_places_are_suites() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "benchmarks.md"
    places = re.findall(r"<!-- results: (\w+) -->", page.read_text(encoding="utf-8"))
    assert "secagg" in places
    assert set(places) <= set(available())
