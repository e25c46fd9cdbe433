"""A study: one base configuration, lists of values for some settings, and the resulting cells.

Every cell is one run. Its identity is a hash of everything that its result depends on, so that a finished
cell is recognised in every study.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from fedavg.config.build import load_config
from fedavg.config.builders.parts import check_name
from fedavg.config.settings import Config, section
from fedavg.errors import ConfigError
from fedavg.parts import load_plugins, registered
from fedavg.parts.nearest import explained, key_offered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fedavg.privacy.noise import Noise

__all__ = [
    "DEFAULT_STUDY",
    "Cell",
    "Refusal",
    "Study",
    "code_version",
    "flatten",
    "identity",
    "read_study",
    "with_central_noise",
    "with_noise",
]

DEFAULT_STUDY = Path(__file__).parent / "study.toml"

_MOST_CELLS = 10_000
_PARTS = ("title", "base", "grid", "exclude")
_ELSEWHERE = {
    "records": "a study compares runs of clients, and [records] protects people or records of silos: give "
    "such a configuration to `fedavg records`, once for each --epsilon to compare"
}
_FIXED = (
    "baseline",
    "simulation.workers",
    "simulation.engine",
)  # a cell has one process, and trains once
_NOISE_ONLY = ("privacy.", "clipping.")  # without noise these have no effect
_SHOWS_ONLY = {"audits", "cli", "reports", "runs", "studies"}  # packages that do not affect results

Settings = dict[str, object]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study.

    Args:
        config: the requested configuration, in one process and without a baseline.
        id: SHA-256, hexadecimal, of everything that the result depends on.
    """

    config: Config
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
    """

    title: str
    cells: tuple[Cell, ...]
    refused: tuple[Refusal, ...]
    excluded: int


def read_study(path: Path | None) -> Study:
    """Read a study file, or the built-in study.

    Args:
        path: TOML with `[base]` (or ``base = "config.toml"``, beside the study), `[grid]` or several
            `[[grid]]` of dotted keys to lists, and any number of `[[exclude]]`.

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest valid one is named), or a value has
            a
            wrong type. A combination that does not fit together is no error: it is among `refused`.
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
        grids = [_grid(part) for part in _tables(raw.get("grid", {}), "grid")]
        excluded = [_exclusion(part) for part in _tables(raw.get("exclude", []), "exclude")]
        return _expand(title, base, grids, excluded)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def flatten(config: Config) -> Settings:
    """All settings by dotted key, in the configuration's order.

    Example:
        >>> flatten(Config())["privacy.noise"]
        'gaussian'
    """
    return _dotted(msgspec.to_builtins(config))


@functools.cache
def code_version() -> str:
    """SHA-256, hexadecimal, of the version and the sources that affect a cell's result."""
    digest = hashlib.sha256(importlib.metadata.version("secure-fedavg").encode())
    root = Path(__file__).parents[2]
    for package in ("dp", "fedavg", "he", "secagg"):
        for source in sorted((root / package).rglob("*.py")):
            path = source.relative_to(root)
            # Packages that only show results may change without making results out of date.
            if package == "fedavg" and path.parts[1] in _SHOWS_ONLY:
                continue
            digest.update(f"\n{path.as_posix()}\n".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


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


def _dotted(tables: Mapping[str, Any]) -> Settings:
    """Dotted keys of a table of tables, or of a table with dotted keys."""
    found: Settings = {}
    for key, value in tables.items():
        if isinstance(value, dict) and "." not in key:
            found |= {f"{key}.{inner}": part for inner, part in value.items()}
        else:
            found[key] = value
    return found


def _base(value: object, folder: Path) -> Settings:
    if isinstance(value, str):
        file = folder / value
        settings = _dotted(_read(file))
    elif isinstance(value, dict):
        settings = _dotted(value)
    else:
        raise ConfigError("base must be a table, or the name of a configuration file")
    modules = _typed("plugins.modules", settings.get("plugins.modules", []))
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))  # the user's own modules are beside the study
    load_plugins(
        msgspec.convert(modules, list[str])
    )  # other keys may have their parts' names as values
    for table in {key.partition(".")[0] for key in settings} & set(_ELSEWHERE):
        raise ConfigError(_ELSEWHERE[table])
    return {key: _typed(key, part) for key, part in settings.items()}


def _typed(key: str, value: object) -> object:
    """Check a key and the type of one of its values.

    Raises:
        ConfigError: the key does not exist (the nearest valid one is named), or the value has another type.
    """
    table, _, name = key.rpartition(".")
    known = {field.name: field for field in msgspec.structs.fields(section(table))}
    if name not in known or (table and section(table) is Config):
        load_config(None, {key: value})  # refuses the key with a message
        raise ConfigError(f"unknown key {key!r}")
    try:
        typed = msgspec.convert(value, known[name].type)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{key}: {explained(str(error), known[name].type)}") from error
    check_name(key, typed)
    return typed


def _grid(table: dict[str, Any]) -> dict[str, list[object]]:
    axes: dict[str, list[object]] = {}
    for key, values in _dotted(table).items():
        if key in _FIXED:
            raise ConfigError(f"grid: {key} changes no result of a cell: leave it out")
        if not isinstance(values, list):
            _typed(key, values)
            raise ConfigError(f"grid: {key} needs a list of values: [{values!r}]")
        if not values:
            raise ConfigError(f"grid: {key} has no values")
        axes[key] = [_typed(key, value) for value in values]
    return axes


def _exclusion(table: dict[str, Any]) -> dict[str, list[object]]:
    rule = {
        key: [_typed(key, value) for value in (values if isinstance(values, list) else [values])]
        for key, values in _dotted(table).items()
    }
    if not rule:
        raise ConfigError("exclude: an empty table would take out everything")
    return rule


def _expand(
    title: str,
    base: Settings,
    grids: Sequence[dict[str, list[object]]],
    exclusions: Sequence[dict[str, list[object]]],
) -> Study:
    _check_size(grids)
    inputs = _Inputs({})
    cells: dict[str, Cell] = {}
    refused: dict[str, Refusal] = {}
    excluded = 0
    for axes in grids:
        # Both would name the strength of the noise, and the multiplier would win silently.
        if "privacy.epsilon" in axes and "privacy.noise_multiplier" in {*base, *axes}:
            raise ConfigError(
                "privacy.noise_multiplier is set, so that privacy.epsilon would only stop the runs early: "
                "take it out of base, or vary it instead"
            )
        for chosen in _combinations(axes):
            wanted = _wanted(base, chosen)
            if any(_matches(rule, wanted) for rule in exclusions):
                excluded += 1
                continue
            try:
                config = _single(load_config(None, wanted))
            except ConfigError as error:
                refused.setdefault(repr(sorted(chosen.items())), Refusal(chosen, str(error)))
                continue
            cell = Cell(config, identity(config, inputs))
            # Two grids may contain the same cell, which is run once.
            cells.setdefault(cell.id, cell)
    return Study(title, tuple(cells.values()), tuple(refused.values()), excluded)


def _check_size(grids: Sequence[dict[str, list[object]]]) -> None:
    size = sum(math.prod(len(values) for values in axes.values()) for axes in grids)
    if size > _MOST_CELLS:
        raise ConfigError(f"{size:,} combinations are more than {_MOST_CELLS:,}: split the study")


def _combinations(axes: dict[str, list[object]]) -> Iterator[Settings]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _wanted(base: Settings, chosen: Settings) -> Settings:
    """Apply one combination to the base; "none" among several noises drops settings that only noise uses."""
    wanted = base | chosen
    if with_noise(chosen):
        return wanted
    kept = {"privacy.noise"} | ({"privacy.delta"} - chosen.keys())
    return {key: v for key, v in wanted.items() if key in kept or not key.startswith(_NOISE_ONLY)}


def with_noise(settings: Mapping[str, object]) -> bool:
    """Whether runs with these settings add noise.

    Args:
        settings: settings of a configuration, by dotted keys; if no noise is named, the default applies.

    Example:
        >>> with_noise({}), with_noise({"privacy.noise": "none"})
        (True, False)
    """
    return settings.get("privacy.noise") != "none"


def with_central_noise(settings: Mapping[str, object]) -> bool:
    """Whether the server adds the noise of runs with these settings.

    Args:
        settings: as for `with_noise`.

    Example:
        >>> with_central_noise({"privacy.noise": "central-gaussian"}), with_central_noise({})
        (True, False)
    """
    noise = registered("noise").get(str(settings.get("privacy.noise")))
    return noise is not None and not cast("type[Noise]", noise).distributed


def _matches(rule: dict[str, list[object]], wanted: Settings) -> bool:
    everything = flatten(Config()) | wanted
    return all(everything.get(key) in values for key, values in rule.items())


def _single(config: Config) -> Config:
    simulation = msgspec.structs.replace(config.simulation, workers=0, engine="local")
    return msgspec.structs.replace(config, baseline=False, simulation=simulation)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Digests of files that a configuration names; each file is read once."""

    seen: dict[str, str]

    def digest(self, path: Path) -> str:
        name = str(path)
        if name not in self.seen:
            with path.open("rb") as file:
                self.seen[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.seen[name]


def identity(config: Config, inputs: _Inputs | None = None) -> str:
    """The id of a cell: a digest of its configuration, the sources, and the files that it names.

    Args:
        config: configuration of the cell.
        inputs: digests of files that were read before; None reads them.
    """
    inputs = inputs or _Inputs({})
    files = [path for path in (Path(config.data.name), _source(config.model.name)) if path]
    # A cell's result depends on its data and on the user's model, so their contents are in its identity.
    parts = {
        "config": msgspec.to_builtins(config),
        "code": code_version(),
        "inputs": [inputs.digest(path) for path in files if path.is_file()],
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _source(model: str) -> Path | None:
    """The file of a model named by its import path "package.module:factory"."""
    module, colon, _ = model.partition(":")
    if not colon:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None  # the check of the cell reports the error
    return None if spec is None or spec.origin is None else Path(spec.origin)
