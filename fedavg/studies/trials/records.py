"""A run that protects people or records of silos as a trial: what `fedavg records` trains, in memory."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import msgspec

from fedavg.errors import ConfigError
from fedavg.runs.records.run import record_job
from fedavg.runs.records.settings import RecordRun, record_run_of
from fedavg.studies.trials.interface import Derived, Measured
from fedavg.studies.trials.scores import scores_of
from fedavg.studies.trials.settings import nested
from fedavg.studies.trials.words import Observer, Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.records.federation import RecordFederation
    from fedavg.studies.trials.interface import Settings
    from fedavg.training.evaluation import Evaluation

__all__ = ["RECORDS", "RecordsDerived", "RecordsForm", "RecordsMeasured", "RecordsTrial"]

_RELEASE = Observer("epsilon_release", "Epsilon, models", "the released models")
_SERVER = Observer("epsilon_server", "Epsilon, server", "the server")
_COLLUDING = Observer(
    "epsilon_colluding", "Epsilon, server with silos", "the server with its colluding silos"
)


class RecordsDerived(Derived, frozen=True, kw_only=True, tag="records"):
    """Values that follow from a configuration of records.

    Args:
        unit: what the epsilons are about: "person" or "record".
        silos: number of silos.
        colluders: number of silos that are assumed to tell the server all that they know.
        groups: number of sums in a step.
        slots: number of units to which a silo pads its work in one draw.
        noise_overhead: noise of a step ÷ that of one trusted party.
    """

    unit: str
    silos: int
    colluders: int
    groups: int
    slots: int
    noise_overhead: float


class RecordsMeasured(Measured, frozen=True, kw_only=True, tag="records"):
    """The results of a run of records.

    Args:
        epsilon_colluding: towards the server with its colluding silos, the budget; None for no bound.
        steps: number of steps with a new model.
        sums: number of secure sums, of all groups and attempts.
        voided: number of attempts that gave no sum; each was charged.
        shortened: number of sums that no honest silos make.
        clip: C after the last step; it differs from the setting only if it follows the median.
    """

    epsilon_colluding: float | None
    steps: int
    sums: int
    voided: int
    shortened: int
    clip: float


class RecordsTrial(msgspec.Struct, frozen=True, tag="records"):
    """A run that protects people or records of silos.

    Args:
        config: the requested configuration.

    Example:
        >>> RECORDS.trial({"records.unit": "record", "records.epsilon": 1.0}).config.records.epsilon
        1.0
    """

    config: RecordRun

    @property
    def seed(self) -> int:
        """See `Trial.seed`."""
        return self.config.seed

    @property
    def plugins(self) -> Sequence[str]:
        """See `Trial.plugins`."""
        return self.config.plugins.modules

    @property
    def named(self) -> Sequence[str]:
        """See `Trial.named`."""
        config = self.config
        # Fixed features may be read from a file, and computed by a function, that an option names.
        options = (str(value) for value in config.model.feature_options.values())
        own = (config.data.name, config.data.schema, config.model.name, config.model.file)
        return (*own, *options, *map("{}:".format, self.plugins))

    @property
    def kind(self) -> tuple[object, ...]:
        """See `Trial.kind`."""
        config = self.config
        model = (config.model.name, config.model.features)
        return config.secure_sum.kind, config.steps, config.data.name, model, config.records.rate

    def check(self) -> RecordsDerived:
        """See `Trial.check`."""
        # Each cell would charge the silos' budgets, and none of their models is kept.
        if self.config.records.ledgers:
            raise ConfigError(
                "records.ledgers: a study charges no ledgers, and its cells are releases of their own; sweep "
                "over public or simulated data, and leave the ledgers to the run that is kept"
            )
        job = record_job(self.config)
        # All that is refused is refused when a federation is made; it is not run.
        return _derived(job.federation(), job.task.description)

    def measure(self, derived: Derived) -> RecordsMeasured:
        """See `Trial.measure`."""
        wall, cpu = time.perf_counter(), time.process_time()
        run = record_job(_calibrated(self.config, derived)).federation()
        steps, traffic, voided, shortened = 0, (0, 0), 0, 0
        scored: Evaluation | None = None
        for result in run.run(score_every=self.config.score_every):
            steps = result.step
            traffic = (traffic[0] + result.bytes_up, traffic[1] + result.bytes_down)
            voided, shortened = voided + len(result.voided), shortened + result.shortened
            scored = result.evaluation or scored
        spent, asked = run.epsilons, steps * run.resolution.silos
        return RecordsMeasured(
            accuracy=None if scored is None else scored.accuracy,
            loss=None if scored is None else scored.loss,
            epsilon_release=spent.release,
            epsilon_server=spent.server,
            epsilon_colluding=spent.colluding,
            delta=spent.delta,
            steps=steps,
            sums=sum(run.rosters.values()),
            voided=voided,
            shortened=shortened,
            clip=run.clip,
            stopped=run.stopped,
            bytes_up=traffic[0] / asked if asked else None,
            bytes_down=traffic[1] / asked if asked else None,
            seconds=round(time.perf_counter() - wall, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
            **scores_of(scored),
        )


class RecordsForm:
    """The form of `fedavg records`: a `Form`.

    Example:
        >>> RECORDS.words.party, RECORDS.words.axis.column
        ('silo', 'epsilon_colluding')
    """

    root: type[msgspec.Struct] = RecordRun
    example: Mapping[str, object] = {"records.unit": "record"}
    without_effect = ("records.ledgers",)
    strength = ("records.epsilon", "records.noise_multiplier")
    traffic = ("secure_sum.",)
    columns: tuple[str, ...] = (
        *("task", "unit", "silos", "colluders", "groups", "parameters", "slots"),
        *("noise_multiplier", "noise_overhead", "epsilon_budget", "ring_bits", "hides_updates"),
        *("accuracy", "loss", "epsilon_release", "epsilon_server", "epsilon_colluding", "delta"),
        *("headline", "headline_value", "headline_baseline", "headline_greater", "headline_share"),
        *("baseline_rule", "baseline_accuracy", "figures"),
        *("steps", "sums", "voided", "shortened", "clip", "stopped", "bytes_up", "bytes_down"),
        *("seconds", "cpu_seconds"),
    )
    words = Words(
        party="silo",
        exchange="step",
        vector="silo's sum of gradients",
        count="steps",
        lost="voided",
        lost_said="attempts void",
        axis=_COLLUDING,
        observers=(_RELEASE, _SERVER, _COLLUDING),
        seed="which silo holds what, where units are dealt to silos, and the initial weights",
        draws="Coins and noise",
        price=(
            "The sum above is for a unit of one silo. A person with rows in two silos, or with two records "
            "where the unit is a record, loses more, and no epsilon hides a property of a whole silo."
        ),
        equal_sums=(
            "Every secure sum adds the same integers, so that their figures differ by chance only: other "
            "coins, other noise."
        ),
    )

    def trial(self, settings: Settings) -> RecordsTrial:
        """See `Form.trial`."""
        return RecordsTrial(record_run_of(nested(settings), {}))

    def asked(self, base: Settings, chosen: Settings) -> Settings:
        """See `Form.asked`."""
        return base | chosen

    def in_effect(self, settings: Settings) -> Settings:
        """See `Form.in_effect`."""
        return settings

    def noisy(self, settings: Settings) -> bool:
        """Every run of records adds noise."""
        del settings
        return True

    def central(self, settings: Settings) -> bool:
        """No server adds the noise of a run of records."""
        del settings
        return False

    def remarks(self, done: Sequence[Mapping[str, object]]) -> str:
        """See `Form.remarks`."""
        units = " or ".join(sorted({f"one {values['unit']}" for values in done}))
        pairs = {(values["colluders"], values["silos"]) for values in done}
        if not pairs:
            return ""
        silos = ", ".join(sorted(f"{colluders} of {silos}" for colluders, silos in pairs))
        return (
            f"Every epsilon is about {units} of one silo. The budget is the epsilon for the server together "
            f"with its colluding silos ({silos})."
        )


RECORDS = RecordsForm()
"""The form of a study with the table [records]."""


def _calibrated(config: RecordRun, derived: Derived) -> RecordRun:
    # The noise was calibrated when the cell was checked, and the search is not repeated.
    table = msgspec.structs.replace(config.records, noise_multiplier=derived.noise_multiplier)
    return msgspec.structs.replace(config, records=table)


def _derived(run: RecordFederation, task: str) -> RecordsDerived:
    found = run.resolution
    budget = found.plan.privacy.epsilon
    return RecordsDerived(
        task=task,
        unit=found.plan.privacy.unit,
        silos=found.silos,
        colluders=found.colluders,
        groups=len(found.sizes),
        parameters=found.vector_length,
        slots=found.most_units,
        noise_multiplier=found.noise_multiplier,
        noise_overhead=found.noise_overhead,
        epsilon_budget=budget if math.isfinite(budget) else None,
        ring_bits=found.ring_bits,
        hides_updates=found.plan.secure_sum.hides_updates,
        warnings=(),
    )
