"""Run configurations: TOML to the structs of `fedavg.config.settings`, then to a task, clients and a plan.

An unknown key is an error that names the key and the nearest valid one.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import msgspec

from fedavg.config.builders.blocks import blocks_of
from fedavg.config.builders.encoding import build_encoding, build_stages
from fedavg.config.builders.models import personalization_of, spec_of
from fedavg.config.builders.parts import check_names, part_of, stages_of
from fedavg.config.builders.protection import clipping_of, cohort_of, noise_of
from fedavg.config.builders.training import (
    check_training,
    local_training,
    modules_named,
    scoring_of,
    server_optimizer,
)
from fedavg.config.defaults import Facts, with_defaults
from fedavg.config.effect import check_effects
from fedavg.config.ranges import check_ranges
from fedavg.config.settings import (
    Config,
    SumConfig,
)
from fedavg.contrib.selective.map import UNCOUNTED, SensitivityMap
from fedavg.data.dataset import NUMBERS
from fedavg.data.placement import place
from fedavg.errors import CohortSizeError, ConfigError, PlanError
from fedavg.models.zoo import count_parameters
from fedavg.parts import load_plugins, named
from fedavg.parts.imports import add_folder
from fedavg.parts.nearest import explained
from fedavg.plan.calibration import calibrated
from fedavg.plan.deltas import usual_delta
from fedavg.plan.feasibility import cohort_bounds, noise_to_signal
from fedavg.plan.plan import Budget, Limits, Plan
from fedavg.plan.remedies import enough_rate
from fedavg.plan.resolution import resolve
from fedavg.training.compute import Compute
from fedavg.training.sensitivity import client_scores, label_sensitivity
from fedavg.training.setup import set_apart

if TYPE_CHECKING:
    from torch import nn

    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.data.dataset import Dataset
    from fedavg.data.settings import Chosen
    from fedavg.data.tables.schemas.propose import Proposal
    from fedavg.data.task import Task
    from fedavg.models.spec import ModelSpec
    from fedavg.sums.interface import SecureSum
    from fedavg.training.evaluation import Scoring

__all__ = ["Config", "Job", "build_job", "load_config"]

_DEFAULT_EPSILON = 5.0
_RENAMED = {"download": "broadcast"}  # tables of older configurations


def load_config(path: Path | None, overrides: dict[str, object] | None = None) -> Config:
    """Read a TOML configuration, or the built-in example, and apply overrides.

    Args:
        path: a TOML file; None for the built-in example.
        overrides: dotted keys to values, such as ``{"privacy.noise": "none"}``.

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest valid one is named), or a value is
            invalid.
    """
    raw: dict[str, object] = {}
    if path is not None:
        raw = _read(path)
    for key, value in (overrides or {}).items():
        *tables, last = key.split(".")
        table = raw
        for name in tables:
            inner = table.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{name} must be a table")
            table = inner
        table[last] = value
    # An old name gets its new one; as an unknown key it would only get a guess.
    for old in raw.keys() & _RENAMED.keys():
        raise ConfigError(f"the table [{old}] is called [{_RENAMED[old]}] now: rename it")
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        where = "" if path is None else f"{path}: "
        raise ConfigError(f"{where}{explained(str(error), Config)}") from error
    beside = Path.cwd() if path is None else path.resolve().parent
    # The user's own modules are importable before any name of a part is checked.
    for folder in (str(beside), *config.plugins.folders):
        add_folder(Path(folder))  # it has the user's own modules
    try:
        load_plugins(config.plugins.modules)
        check_ranges(config)
        check_names(config)
        check_effects(config)
        check_training(config)
    except ConfigError as error:
        raise ConfigError(f"{'' if path is None else f'{path}: '}{error}") from error
    return _with_folder(config, beside)


def _with_folder(config: Config, beside: Path) -> Config:
    """The configuration with the folder of the user's own modules, if it names any."""
    named = (*modules_named(config), *config.plugins.modules)
    if not named and ":" not in config.model.name:
        return config
    # The folders become part of the configuration, so that a resumed run and workers find the modules.
    folders = tuple(dict.fromkeys((*config.plugins.folders, str(beside))))
    plugins = msgspec.structs.replace(config.plugins, folders=folders)
    return msgspec.structs.replace(config, plugins=plugins)


def _read(path: Path) -> dict[str, object]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        return msgspec.toml.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything that a configuration stands for: clients with data, a model, a plan.

    `config` has all settings that the data decided; `proposal` has the reasons where a schema was proposed,
    and `chosen` those of settings that were left open. `parameters` is the number of trained and sent
    parameters, `unsent` that of parameters that are frozen or stay at the clients.
    """

    config: Config
    task: Task
    clients: dict[int, Dataset]
    model: ModelSpec
    parameters: int
    unsent: int
    plan: Plan
    proposal: Proposal | None = None
    chosen: tuple[Chosen, ...] = ()

    @property
    def size(self) -> str:
        """What is trained and sent, and what is not, in words."""
        rest = f" ({self.unsent:,} more are frozen or stay at the clients)" if self.unsent else ""
        return f"{self.parameters:,} parameters{rest}"

    @property
    def scoring(self) -> Scoring:
        """Metrics, headline and units for scoring released models."""
        return scoring_of(self.config.evaluation, self.task)

    @property
    def compute(self) -> Compute:
        """Device and precision of training and scoring."""
        return Compute(self.config.training.device, self.config.training.precision)

    @property
    def workers(self) -> int:
        """Number of worker processes for the clients."""
        if self.config.simulation.elsewhere:
            return 0
        wanted = self.config.simulation.workers
        return (os.cpu_count() or 1) if wanted < 0 else wanted


def build_job(config: Config) -> Job:
    """Load the data, divide it among clients, build the plan, and calibrate its noise.

    Raises:
        DataError, ConfigError, PlanError: the configuration or the data is invalid. The packages' own errors
            are raised too.
    """
    # Under noise no statistic of the rows is taken, because no budget would count it.
    statistics = None if config.privacy.private else _statistics(config.secure_sum)
    placed = place(config.data, statistics, seed=config.seed)
    task, clients = placed.task, placed.clients
    shape = tuple(int(n) for n in task.train.features.shape[1:])
    facts = Facts(placed.own, len(clients), math.prod(shape), task.train.kind == NUMBERS)
    # Defaults come after the data, since they depend on its public counts.
    config, chosen = with_defaults(msgspec.structs.replace(config, data=placed.config), facts)
    check_effects(config)  # once more, beside what was chosen
    model = spec_of(config.model, shape, task.outputs, seed=config.seed)
    built, training = model.build(), local_training(config.local, config.training)
    personal = personalization_of(config.personalization, training)
    # What stays at the clients is taken out first: it is neither sent nor counted as a parameter.
    set_apart(built, () if personal is None else personal.head)
    parameters = count_parameters(built)
    blocks = blocks_of(config.blocks, config.local, built)
    sensitivity = _sensitivity(config, task, clients, built, parameters)
    # The number of enrolled clients is public and may be larger than the number that are here.
    population = config.privacy.population or len(clients)
    plan = build_plan(config, parameters, sensitivity, blocks, population)
    if plan.noise is not None and config.privacy.noise_multiplier is None:
        sizes: _Sizes = {
            "num_clients": population,
            "vector_length": parameters,
            "num_rounds": config.rounds,
            "largest_client": max(len(data) for data in clients.values()),
        }
        plan = _calibrated(plan, sizes)
    unsent = sum(part.numel() for part in built.parameters()) - parameters
    chosen = (*placed.chosen, *chosen)
    return Job(config, task, clients, model, parameters, unsent, plan, placed.proposal, chosen)


class _Sizes(TypedDict):
    num_clients: int
    vector_length: int
    num_rounds: int
    largest_client: int


def _calibrated(plan: Plan, sizes: _Sizes) -> Plan:
    """The plan with the least noise for its budget; for a population too small for it, the cost of more."""
    try:
        return calibrated(plan, **sizes)
    # A larger rate would help, so its cost in noise is stated before anybody chooses it.
    except CohortSizeError as error:
        check = functools.partial(cohort_bounds, num_rounds=sizes["num_rounds"])
        enough = enough_rate(plan, sizes["num_clients"], check)
        if enough is None:
            raise
        larger, rate = enough
        found = calibrated(larger, **sizes)
        ratio = noise_to_signal(resolve(found, **sizes))
        noise = math.nan if found.noise is None else found.noise.noise_multiplier
        raise CohortSizeError(
            f"{error}. At a rate of {rate:g}, epsilon {plan.budget.epsilon:g} over {sizes['num_rounds']:,} "
            f"rounds costs a noise multiplier of {noise:.2f}: the noise is {ratio:.2g} times as long as the "
            "longest mean update"
        ) from None


def _statistics(sums: SumConfig) -> SecureSum:
    """The secure sum of a table's statistics: the run's own; for one with a map, its encrypted sum."""
    kind = sums.scheme if _maps_coordinates(sums) else sums.kind
    return _secure_sum(msgspec.structs.replace(sums, kind=kind), None)


def _maps_coordinates(sums: SumConfig) -> bool:
    """Whether the secure sum treats chosen coordinates differently from the rest."""
    return "chosen" in named("secure_sum", sums.kind).__struct_fields__


def _sensitivity(
    config: Config, task: Task, clients: dict[int, Dataset], model: nn.Module, parameters: int
) -> SensitivityMap | None:
    """The map of encrypted coordinates, for a sum that needs one.

    The held-out examples belong to the server.  Clients' own scores are summed here, before any round; under
    noise no client is asked for scores.
    """
    sums = config.secure_sum
    if not _maps_coordinates(sums):
        return None
    if sums.choice == "random":
        return SensitivityMap.random(parameters, sums.share, seed=config.seed)
    if sums.choice == "clients":
        # No noise covers this choice, so it would be a release that no budget counts.
        if config.privacy.private:
            raise PlanError(f"secure_sum.choice = 'clients': {UNCOUNTED}")
        scores = client_scores(model, clients, seed=config.seed)
        return SensitivityMap.from_clients(scores, sums.share, _statistics(sums))
    # Public scores are computed on the held-out rows, and never on those of a client.
    return SensitivityMap.from_scores(label_sensitivity(model, task.test), sums.share)


def build_plan(
    config: Config,
    parameters: int,
    sensitivity: SensitivityMap | None = None,
    blocks: Blocks | None = None,
    num_clients: int | None = None,
) -> Plan:
    """The plan of a configuration; its noise is not yet calibrated when no multiplier is given.

    Args:
        config: the configuration.
        parameters: d, number of parameters of its model.
        sensitivity: map of the coordinates that "selective" encrypts.
        blocks: blocks of which each client trains one; None for the whole model.
        num_clients: N, with which open numbers of bits are chosen; None for one client.

    Raises:
        ConfigError, PlanError: the settings are invalid or do not fit together.
    """
    privacy = config.privacy
    noise = noise_of(privacy)
    epsilon = math.inf
    if noise is not None:
        # With a given multiplier nothing is calibrated, and a default budget could only end the run early.
        default = math.inf if privacy.noise_multiplier is not None else _DEFAULT_EPSILON
        epsilon = default if privacy.epsilon is None else privacy.epsilon
    enrolled = privacy.population or num_clients or 1
    delta = usual_delta(enrolled) if privacy.delta is None else privacy.delta
    training = local_training(config.local, config.training)
    participations = None if noise is None else privacy.max_participations
    cohort = cohort_of(config.cohort)
    expected = 1.0 if num_clients is None else cohort.expected_size(num_clients)
    # Under blocks the longest vector decides how fine the grid has to be.
    length = parameters if blocks is None else max(blocks.lengths)
    return Plan(
        cohort=cohort,
        encoding=build_encoding(config, length, expected),
        noise=noise,
        secure_sum=_secure_sum(config.secure_sum, sensitivity),
        local_training=training,
        server_optimizer=server_optimizer(config.server),
        budget=Budget(epsilon, delta),
        weighting=None if config.server.weighting == "auto" else config.server.weighting,
        limits=Limits(max_participations=participations, retries=config.cohort.retries),
        clipping=clipping_of(config.clipping),
        personalization=personalization_of(config.personalization, training),
        stages=(*build_stages(config), *stages_of(config.stages)),
        broadcast=config.broadcast.format,
        blocks=blocks,
    )


def _secure_sum(config: SumConfig, sensitivity: SensitivityMap | None) -> SecureSum:
    names = ("dropout_rate", "corrupt_rate", "threat_model", "scheme", "key_at")
    settings: dict[str, object] = {name: getattr(config, name) for name in names}
    if _maps_coordinates(config):  # made of two sums and a map of the model, which no table holds
        if sensitivity is None:
            raise ConfigError(
                f"secure_sum.kind {config.kind!r} needs a SensitivityMap of the model"
            )
        settings |= {
            "chosen": sensitivity,
            "encrypted": part_of("secure_sum", config.scheme, settings, {}),
            "rest": part_of("secure_sum", config.rest, settings, {}),
        }
    return part_of("secure_sum", config.kind, settings, config.options)
