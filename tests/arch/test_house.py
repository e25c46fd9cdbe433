"""The house as the page shows it is the house that the contracts check."""

from __future__ import annotations

import re
import tomllib

from tests.arch.tree import ROOT


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
