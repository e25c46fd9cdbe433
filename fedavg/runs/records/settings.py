"""The configuration of a run that protects people or records: TOML to structs, and the silos it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import msgspec
import numpy as np

from fedavg.config.builders.parts import check_name, part_of
from fedavg.config.builders.training import check_by_client, server_optimizer
from fedavg.config.settings import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    PluginsConfig,
    ServerConfig,
    SumConfig,
)
from fedavg.data.dataset import Dataset
from fedavg.data.partitions.partition import iid
from fedavg.data.tables.files import is_table
from fedavg.errors import ConfigError
from fedavg.losses.choice import loss_of
from fedavg.parts import load_plugins
from fedavg.parts.nearest import explained
from fedavg.records.privacy import RecordPlan, RecordPrivacy
from fedavg.records.table import Silo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.models.features.interface import FixedFeatures
    from fedavg.robust.rules import RobustMean

__all__ = [
    "RecordModelConfig",
    "RecordRun",
    "RecordsTable",
    "RobustTable",
    "data_of",
    "load_record_run",
    "plan_of",
    "record_run_of",
    "silos_from",
]

_DEALT = 10


class RecordsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table [records]: the promise to one person or record, as in `fedavg.RecordPrivacy`.

    `unit` is "person" or "record", and has no default. With "person", `data.client` names the column of
    persons. `silo` names the column of a table whose values are the silos, such as the hospital. Without it,
    persons or records are dealt over so many `silos`, 10 if left out; `data.client` of records may name the
    silos too. `max_units` must be declared for data of one's own. A `divisor` that is
    left out is rate x silos x max_units. `ledgers` is a folder with the budget of each silo, which several
    runs share; left out, the run's own.

    Example:
        >>> RecordsTable(unit="record").epsilon
        3.0
    """

    unit: Literal["person", "record"]
    silo: str = ""
    silos: int | None = None
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
    clip_by: Literal["unit", "layer"] = "unit"
    clip_quantile: float | None = None
    clip_lr: float | None = None
    clip_noise: float | None = None
    clip_span: float | None = None
    micro_batch: int = 64
    ledgers: str = ""

    @property
    def dealt(self) -> int:
        """Number of silos over which persons or records are dealt."""
        return _DEALT if self.silos is None else self.silos


class RobustTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table [robust]: how the means of groups of silos are combined, each with a secure sum of its own.

    `kind` is "none" (one sum of all silos), "group-median" or "trimmed-mean"; `groups` is the number of
    groups, and `options` holds further fields, such as the `trim` of a trimmed mean.

    Example:
        >>> RobustTable().kind
        'none'
    """

    kind: str = "none"
    groups: int | None = None
    options: dict[str, Any] = {}


class RecordModelConfig(ModelConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table [model] with fixed public features in front of the model.

    `features` is "scattering" (images), "frozen-model" (a public model file) or another registered part;
    `feature_options` are its fields.

    Example:
        >>> RecordModelConfig(features="scattering", feature_options={"scales": 1}).name
        'softmax'
    """

    features: str = ""
    feature_options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def fixed(self) -> FixedFeatures | None:
        """The fixed features, or None.

        Raises:
            ConfigError: there is no such part, or it does not have an option.
            PlanError: it refuses a value.
        """
        if self.features:
            return part_of("features", self.features, {}, self.feature_options)
        if self.feature_options:
            raise ConfigError("model.feature_options needs model.features, such as 'scattering'")
        return None


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
    model: RecordModelConfig = RecordModelConfig()
    server: ServerConfig = ServerConfig(lr=2.0)
    secure_sum: SumConfig = SumConfig()
    robust: RobustTable = RobustTable()
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
    return record_run_of(raw, overrides, where="" if path is None else f"{path}: ")


def record_run_of(
    tables: dict[str, object], overrides: Mapping[str, object], *, where: str = ""
) -> RecordRun:
    """The configuration of some tables; there is no default for the unit.

    Args:
        tables: tables by name, which take the overrides.
        overrides: dotted keys to values.
        where: what stands in front of a message about the tables.

    Raises:
        ConfigError: a key is unknown, or a value is invalid.

    Example:
        >>> record_run_of({}, {"records.unit": "record", "steps": 40}).steps
        40
    """
    for key, value in overrides.items():
        table, _, last = key.rpartition(".")
        held = tables.setdefault(table, {}) if table else tables
        if not isinstance(held, dict):
            raise ConfigError(f"{table} must be a table")
        held[last] = value
    try:
        found = msgspec.convert(tables, RecordRun)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}{_explained(str(error))}") from error
    check_by_client(found.evaluation, private=True)
    load_plugins(found.plugins.modules)
    check_name("secure_sum.kind", found.secure_sum.kind)
    if found.server.optimizer is not None:
        check_name("server.optimizer", found.server.optimizer)
    return found


def _explained(message: str) -> str:
    """The message with the nearest key, the values that a key may have, or the meaning of the unit."""
    if "missing required field `unit`" in message or "missing required field `records`" in message:
        return (
            'records.unit must be given: "person", with a column that names the person of each row, or '
            '"record", which states that every row is another person'
        )
    said = explained(message, RecordRun)
    unknown = re.search(r"unknown field `([^`]+)` - at `\$\.(\w+)`", message)
    table = get_type_hints(RecordRun).get(unknown[2]) if unknown else None
    if unknown and "options" in getattr(table, "__struct_fields__", ()):
        end = " A" if said.endswith("?") else "; a"
        said += f'{end} setting of one kind alone goes among its options: options = {{ {unknown[1]} = "…" }}'
    return said


def data_of(config: RecordRun) -> DataConfig:
    """The table [data] with the column of silos, after the refusal of what would have no effect.

    Args:
        config: the configuration.

    Raises:
        ConfigError: persons of a table have no column, or the column of silos does not go with other keys.
    """
    data, table = config.data, config.records
    is_own = is_table(Path(data.name))
    by_person = table.unit == "person"
    if by_person and is_own:
        from fedavg.data.loading.schema_choice import declared_schema  # noqa: PLC0415 - loads the optional pyarrow

        if not declared_schema(data).client:
            raise ConfigError(
                "data.client is missing: records.unit = 'person' needs data.client, the column of "
                f'{data.name} that names the person of each row, such as [data] client = "patient"'
            )
    if not table.silo:
        return data
    reason = _against_silo(table, data, is_own=is_own)
    if reason:
        raise ConfigError(f"records.silo = {table.silo!r} names the column of silos: {reason}")
    return msgspec.structs.replace(data, group=table.silo)


def _against_silo(table: RecordsTable, data: DataConfig, *, is_own: bool) -> str:
    """What does not go with a column of silos; "" for nothing."""
    reasons = {
        f"{data.name} is no table of your own (.csv, .tsv, .parquet), so leave it out": not is_own,
        "its values are the silos, so leave out records.silos": table.silos is not None,
        "nothing is dealt, so leave out data.clients and data.partition": (
            data.clients is not None or data.partition != "auto"
        ),
        f"it is the group of rows, so leave out data.group = {data.group!r}": (
            data.group not in ("", table.silo)
        ),
        "data.client is the column of persons, and needs another one": data.client == table.silo,
        (
            "records.unit = 'record' states that every row is another person, and data.client = "
            f"{data.client!r} names persons. Take unit = 'person', or leave data.client out"
        ): table.unit == "record" and bool(data.client),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


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
    dealt = iid(np.arange(len(people)) % 2, config.records.dealt, seed=config.seed)
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
        robust=_robust_of(config.robust),
        loss=loss_of(config.loss),
        micro_batch=table.micro_batch,
        features=config.model.fixed,
    )


def _robust_of(table: RobustTable) -> RobustMean | None:
    """The rule of the table [robust]; None without groups."""
    if table.kind == "none":
        if table.groups is not None or table.options:
            raise ConfigError(
                "robust.groups and robust.options have no effect without a rule: set robust.kind = "
                '"group-median" (--robust group-median on the command line), or leave them out'
            )
        return None
    if table.groups is None:
        raise ConfigError(
            f"robust.kind = {table.kind!r} needs robust.groups, the number of groups to which the silos are "
            "dealt, such as 3"
        )
    return part_of("robust", table.kind, {"groups": table.groups}, table.options)


def _with_rate(server: ServerConfig) -> ServerConfig:
    """The server's table with the learning rate that suits a mean gradient, where it is left out."""
    return server if server.lr is not None else msgspec.structs.replace(server, lr=2.0)
