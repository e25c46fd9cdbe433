"""A study: one base configuration, lists of values for some settings, and the resulting cells.

Every cell is one trial. Its identity is a hash of everything that its result depends on, so that a finished
cell is recognised in every study.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.errors import ConfigError
from fedavg.parts import load_plugins
from fedavg.parts.nearest import key_offered
from fedavg.studies.identity import Inputs, identity
from fedavg.studies.trials.catalogue import form_of
from fedavg.studies.trials.clients import CLIENTS
from fedavg.studies.trials.settings import dotted, typed, usual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fedavg.studies.trials.catalogue import AnyForm, AnyTrial
    from fedavg.studies.trials.interface import Form, Settings

__all__ = ["DEFAULT_STUDY", "Cell", "Refusal", "Study", "read_study"]

DEFAULT_STUDY = Path(__file__).parent / "study.toml"

_MOST_CELLS = 10_000
_PARTS = ("title", "base", "grid", "exclude")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study.

    Args:
        trial: what the cell runs.
        id: SHA-256, hexadecimal, of everything that the result depends on.
    """

    trial: AnyTrial
    id: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Settings that are refused, with the reason.

    Args:
        cell_id: id of the cell; "" when the settings are no valid configuration.
        broken: whether the check itself failed, so that it is tried again the next time.
    """

    settings: Settings
    reason: str
    cell_id: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Study:
    """The content of a study file.

    Args:
        title: title for the page.
        cells: the cells, each once, in the file's order.
        refused: combinations that are no valid configuration.
        excluded: number of combinations that the file excludes.
        form: the form of the cells' configurations.
    """

    title: str
    cells: tuple[Cell, ...]
    refused: tuple[Refusal, ...]
    excluded: int
    form: AnyForm = CLIENTS


def read_study(path: Path | None) -> Study:
    """Read a study file, or the built-in study.

    Args:
        path: TOML with `[base]` (or ``base = "config.toml"``, beside the study), `[grid]` or several
            `[[grid]]` of dotted keys to lists, and any number of `[[exclude]]`. With a table [records] the
            cells are runs of `fedavg records`, otherwise of `fedavg run`.

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest valid one is named), or a value has
            a wrong type. A combination that does not fit together is no error: it is among `refused`.
    """
    path = path or DEFAULT_STUDY
    raw = _read(path)
    for key in raw:
        if key not in _PARTS:
            raise ConfigError(f"{path}: unknown key {key!r}{key_offered(key, _PARTS)}")
    title = raw.get("title", path.stem.replace("_", " "))
    if not isinstance(title, str):
        raise ConfigError(f"{path}: title must be a text")
    try:
        base = _base(raw.get("base", {}), path.parent)
        grids = [dotted(part) for part in _tables(raw.get("grid", {}), "grid")]
        rules = [dotted(part) for part in _tables(raw.get("exclude", []), "exclude")]
        form = form_of([key for part in (base, *grids) for key in part])
        plugins = typed(form, "plugins.modules", base.get("plugins.modules", []))
        # Other keys may have the names of these modules' parts as values.
        load_plugins(msgspec.convert(plugins, list[str]))
        return _expand(
            title,
            form,
            {key: typed(form, key, value) for key, value in base.items()},
            [_axes(form, part) for part in grids],
            [_exclusion(form, part) for part in rules],
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def _tables(value: object, name: str) -> list[dict[str, Any]]:
    try:
        return msgspec.convert(value if isinstance(value, list) else [value], list[dict[str, Any]])
    except msgspec.ValidationError as error:
        hint = f"{name} must be a table: [{name}], or [[{name}]] for several"
        raise ConfigError(hint) from error


def _base(value: object, folder: Path) -> Settings:
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))  # the user's own modules are beside the study
    if isinstance(value, str):
        return dotted(_read(folder / value))
    if isinstance(value, dict):
        return dotted(value)
    raise ConfigError("base must be a table, or the name of a configuration file")


def _axes(form: Form, grid: Settings) -> dict[str, list[object]]:
    axes: dict[str, list[object]] = {}
    for key, values in grid.items():
        if key in form.without_effect:
            raise ConfigError(f"grid: {key} changes no result of a cell: leave it out")
        if not isinstance(values, list):
            typed(form, key, values)
            raise ConfigError(f"grid: {key} needs a list of values: [{values!r}]")
        if not values:
            raise ConfigError(f"grid: {key} has no values")
        axes[key] = [typed(form, key, value) for value in values]
    return axes


def _exclusion(form: Form, rule: Settings) -> dict[str, list[object]]:
    if not rule:
        raise ConfigError("exclude: an empty table would take out everything")
    return {
        key: [typed(form, key, value) for value in (given if isinstance(given, list) else [given])]
        for key, given in rule.items()
    }


def _expand(
    title: str,
    form: AnyForm,
    base: Settings,
    grids: Sequence[dict[str, list[object]]],
    exclusions: Sequence[dict[str, list[object]]],
) -> Study:
    _check_size(grids)
    inputs, unset = Inputs(), usual(form)
    cells: dict[str, Cell] = {}
    refused: dict[str, Refusal] = {}
    excluded = 0
    for axes in grids:
        _check_strength(form, base, axes)
        for chosen in _combinations(axes):
            wanted = form.asked(base, chosen)
            if any(_matches(rule, unset | wanted) for rule in exclusions):
                excluded += 1
                continue
            try:
                trial = form.trial(wanted)
            except ConfigError as error:
                refused.setdefault(repr(sorted(chosen.items())), Refusal(chosen, str(error)))
                continue
            cell = Cell(trial, identity(trial, inputs))
            # Two grids may contain the same cell, which is run once.
            cells.setdefault(cell.id, cell)
    return Study(title, tuple(cells.values()), tuple(refused.values()), excluded, form)


def _check_size(grids: Sequence[dict[str, list[object]]]) -> None:
    size = sum(math.prod(len(values) for values in axes.values()) for axes in grids)
    if size > _MOST_CELLS:
        raise ConfigError(f"{size:,} combinations are more than {_MOST_CELLS:,}: split the study")


def _check_strength(form: Form, base: Settings, axes: dict[str, list[object]]) -> None:
    """Refuse an axis of budgets beside a multiplier, which would set the noise of every cell silently."""
    budget, multiplier = form.strength
    if budget in axes and multiplier in {*base, *axes}:
        raise ConfigError(
            f"{multiplier} is set, so that {budget} would only stop the runs early: take it out of base, or "
            "vary it instead"
        )


def _combinations(axes: dict[str, list[object]]) -> Iterator[Settings]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _matches(rule: dict[str, list[object]], settings: Settings) -> bool:
    return all(settings.get(key) in values for key, values in rule.items())
