"""The configuration of a run that protects people or records: TOML to structs, and the silos it names."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from fedavg.config.parts import check_name, part_of
from fedavg.config.settings import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    PluginsConfig,
    ServerConfig,
    SumConfig,
)
from fedavg.config.training import server_optimizer
from fedavg.data.dataset import Dataset
from fedavg.data.partition import iid
from fedavg.errors import ConfigError
from fedavg.losses.choice import loss_of
from fedavg.parts import load_plugins
from fedavg.records.privacy import RecordPlan, RecordPrivacy
from fedavg.records.table import Silo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["RecordRun", "RecordsTable", "load_record_run", "plan_of", "silos_from"]


class RecordsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table [records]: the promise to one person or record, as in `fedavg.RecordPrivacy`.

    `unit` is "person" or "record", and has no default. With "person", `data.client` names the column of
    persons, and persons are dealt over `silos`. With "record", `data.client` names the column of silos, or
    records are dealt over `silos`. `max_units` must be declared for data of one's own. A `divisor` that is
    left out is rate x silos x max_units. `ledgers` is a folder with the budget of each silo, which several
    runs share; left out, the run's own.

    Example:
        >>> RecordsTable(unit="record").epsilon
        3.0
    """

    unit: Literal["person", "record"]
    silos: int = 10
    rate: float = 0.1
    clip: float = 0.5
    max_units: int | None = None
    divisor: float | None = None
    epsilon: float = 3.0
    delta: float = 1e-5
    noise_multiplier: float | None = None
    noise: Literal["shared", "own"] = "shared"
    local_steps: int = 1
    local_lr: float | None = None
    colluders: int | None = None
    rows: int = 1
    combine: Literal["mean", "sum"] = "mean"
    most: int | None = None
    padded: bool = True
    rounding: float = 1e-3
    micro_batch: int = 64
    ledgers: str = ""


class RecordRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole run; [data], [model], [server], [secure_sum] and [evaluation] are those of `fedavg run`.

    `secure_sum.dropout_rate` that is left out is 0: no silo may be missing from a sum.

    Example:
        >>> RecordRun(records=RecordsTable(unit="record")).steps
        100
    """

    records: RecordsTable
    steps: int = 100
    score_every: int = 10
    seed: int = 0
    loss: str | None = None
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    server: ServerConfig = ServerConfig(lr=2.0)
    secure_sum: SumConfig = SumConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    plugins: PluginsConfig = PluginsConfig()


def load_record_run(path: Path | None, overrides: Mapping[str, object]) -> RecordRun:
    """Read a TOML configuration, or the built-in example, and apply overrides.

    Args:
        path: a TOML file; None for the built-in example, whose unit is a record.
        overrides: dotted keys to values.

    Raises:
        ConfigError: the file is unreadable, a key is unknown, or a value is invalid.
    """
    raw: dict[str, object] = {"records": {"unit": "record"}}
    if path is not None:
        try:
            raw = msgspec.toml.decode(path.read_bytes(), type=dict[str, object])
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path} is no valid TOML: {error}") from error
    for key, value in overrides.items():
        table, _, last = key.rpartition(".")
        held = raw.setdefault(table, {}) if table else raw
        if not isinstance(held, dict):
            raise ConfigError(f"{table} must be a table")
        held[last] = value
    try:
        found = msgspec.convert(raw, RecordRun)
    except msgspec.ValidationError as error:
        where = "" if path is None else f"{path}: "
        raise ConfigError(f"{where}{_explained(str(error))}") from error
    load_plugins(found.plugins.modules)
    check_name("secure_sum.kind", found.secure_sum.kind)
    if found.server.optimizer is not None:
        check_name("server.optimizer", found.server.optimizer)
    return found


def _explained(message: str) -> str:
    """A message about an unknown key names the nearest known one; one about the unit says what it means."""
    if "missing required field `unit`" in message or "missing required field `records`" in message:
        return (
            'records.unit must be given: "person", with a column that names the person of each row, or '
            '"record", which states that every row is another person'
        )
    unknown = re.search(r"unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?", message)
    if unknown is None:
        return message
    name, table = unknown[1], unknown[2] or ""
    kind = {"records": RecordsTable, "": RecordRun}.get(table)
    known = () if kind is None else kind.__struct_fields__
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown key {f'{table}.{name}' if table else name!r}{hint}"


def silos_from(
    config: RecordRun, clients: Mapping[int, Dataset], *, owned: bool
) -> dict[int, Silo]:
    """The silos of a configuration, from the data sets that the table [data] gives.

    Args:
        config: the configuration.
        clients: one data set for each owner of rows, or for each of `records.silos` clients.
        owned: whether a column names the owner of each row.

    Raises:
        ConfigError: the unit is a person, and no column names persons.
    """
    if config.records.unit == "record":
        return {number: Silo(data) for number, data in clients.items()}
    if not owned:
        raise ConfigError(
            "records.unit = 'person' needs data.client, the column that names the person of each row"
        )
    people = list(clients.values())
    # Persons are dealt by a public seed: this is a simulation, whose table holds no silos.
    dealt = iid(np.arange(len(people)) % 2, config.records.silos, seed=config.seed)
    return {number: _joined([people[i] for i in piece]) for number, piece in enumerate(dealt)}


def _joined(people: list[Dataset]) -> Silo:
    """One silo of several persons' rows."""
    weights = [person.weights for person in people]
    held = [weight for weight in weights if weight is not None]
    rows = Dataset(
        np.concatenate([person.features for person in people]),
        np.concatenate([person.labels for person in people]),
        people[0].target,
        np.concatenate(held) if len(held) == len(weights) else None,
    )
    return Silo(rows, np.repeat(np.arange(len(people)), [len(person) for person in people]))


def plan_of(config: RecordRun, silos: Mapping[int, Silo], *, public_counts: bool) -> RecordPlan:
    """The plan of a configuration.

    Args:
        config: the configuration.
        silos: its silos.
        public_counts: whether the numbers of rows are public, as those of a built-in data set.

    Raises:
        ConfigError: `max_units` is left out for data whose counts are private.
        PlanError: the settings do not add up.
    """
    table = config.records
    most = table.max_units
    if most is None and not public_counts:
        raise ConfigError(
            "records.max_units must be declared: a public bound on the persons or records of any silo, which "
            "is not counted, since the number of a silo's rows is private"
        )
    if most is None:
        most = max(len(silo.records) for silo in silos.values())
    names = RecordPrivacy.__struct_fields__
    fields = {name: getattr(table, name) for name in names if name != "max_units"}
    divisor = table.divisor
    if divisor is None:
        divisor = table.rate * most * len(silos)
    sums = {name: getattr(config.secure_sum, name) for name in SumConfig.__struct_fields__}
    sums["dropout_rate"] = config.secure_sum.dropout_rate or 0.0
    return RecordPlan(
        privacy=RecordPrivacy(**fields, max_units=most),
        steps=config.steps,
        divisor=divisor,
        secure_sum=part_of("secure_sum", config.secure_sum.kind, sums, config.secure_sum.options),
        server_optimizer=server_optimizer(_with_rate(config.server)),
        loss=loss_of(config.loss),
        micro_batch=table.micro_batch,
    )


def _with_rate(server: ServerConfig) -> ServerConfig:
    """The server's table with the learning rate that suits a mean gradient, where it is left out."""
    return server if server.lr is not None else msgspec.structs.replace(server, lr=2.0)
