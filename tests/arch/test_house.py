"""The house as the page shows it is the house that the contracts check."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.arch.tree import PACKAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path


def _floors() -> list[list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [c["layers"] for c in contracts if c.get("containers") == ["fedavg"]]
    return [layer.split(" | ") for layer in layers]


def test_the_page_shows_the_floors_of_the_contract() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = re.search(r"```text\n(.*?)```", page, flags=re.DOTALL)
    assert picture is not None
    shown = [re.split(r"\s{2,}", line)[0].split(" | ") for line in picture[1].splitlines()]
    assert shown == _floors()


def test_fourteen_floors_hold_everything_and_three_modules_stand_alone() -> None:
    there = {path.stem for path in (ROOT / "fedavg").iterdir() if not path.name.startswith("_")}
    floors = _floors()
    assert len(floors) <= 14
    assert {name for floor in floors for name in floor} == there - {"py"}
    alone = {path.stem for path in (ROOT / "fedavg").glob("*.py")} - {"__init__", "__main__"}
    assert alone == {"checks", "errors", "files"}


MOST_NAMES = 11
MANY = {
    "benchmarks": "the kit, and each other name is a suite of `python -m benchmarks`",
    "fedavg": "its packages are the floors of the contract, which docs/architecture.md lists",
    "tests/fedavg": "the mirror of fedavg, with the helpers of its tests",
    "tests/fuzz/corpus/secagg": "inputs of the fuzzer, which are named by their content",
}
"""Folders that show more names, with the reason."""
_UNSEEN = ("__init__.py", "__main__.py", "__pycache__", "py.typed")


def _shown(path: Path) -> bool:
    """Whether git would show it: a module that moved leaves a folder with a cache behind."""
    if path.is_dir():
        return any(_shown(inner) for inner in path.iterdir() if inner.name != "__pycache__")
    return True


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name not in _UNSEEN and _shown(path)]


def _full(*roots: Path) -> dict[str, int]:
    """The folders that show more names than a newcomer takes in, and how many they show."""
    folders = [folder for root in roots for folder in (root, *root.rglob("*")) if folder.is_dir()]
    counts = {
        folder.relative_to(ROOT).as_posix(): len(_names(folder))
        for folder in folders
        if "__pycache__" not in folder.parts
    }
    return {folder: count for folder, count in counts.items() if count > MOST_NAMES}


def test_a_folder_shows_under_a_dozen_names_or_says_why_not() -> None:
    """An exception that is needed no more must go, too."""
    full = _full(*(ROOT / name for name in (*PACKAGES, "benchmarks", "tests")))
    assert full.keys() == MANY.keys(), full
    assert all(MANY.values())


@pytest.mark.parametrize(("count", "seen"), [(MOST_NAMES, False), (MOST_NAMES + 1, True)])
def test_a_full_folder_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, *, seen: bool
) -> None:
    monkeypatch.setattr("tests.arch.test_house.ROOT", tmp_path)
    folder = tmp_path / "package" / "inner"
    folder.mkdir(parents=True)
    for name in (*_UNSEEN, *(f"module_{number}.py" for number in range(count))):
        (folder / name).touch()
    (folder / "moved" / "__pycache__").mkdir(parents=True)
    (folder / "moved" / "__pycache__" / "old.pyc").touch()
    assert _full(tmp_path / "package") == ({"package/inner": count} if seen else {})
