"""A run of clients as a trial of a study: what `fedavg run` trains, without its directory."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, cast

import msgspec

from fedavg.config.build import build_job, load_config
from fedavg.config.builders.training import stopping_of
from fedavg.config.settings import Config
from fedavg.errors import ConfigError
from fedavg.federation.federation import Federation
from fedavg.federation.results import train
from fedavg.parts import registered
from fedavg.simulation.faults import Faults
from fedavg.studies.trials.interface import Derived, Measured
from fedavg.studies.trials.scores import scores_of
from fedavg.studies.trials.words import Observer, Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.config.build import Job
    from fedavg.federation.results import Results
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.privacy.noise import Noise
    from fedavg.studies.trials.interface import Settings

__all__ = ["CLIENTS", "ClientsDerived", "ClientsForm", "ClientsMeasured", "ClientsTrial"]

_NOISE_ONLY = ("privacy.", "clipping.")  # without noise these have no effect
_NOISE = "privacy.noise"

_RELEASE = Observer("epsilon_release", "Epsilon, models", "the released models")
_SERVER = Observer("epsilon_server", "Epsilon, server", "the server")


class ClientsDerived(Derived, frozen=True, kw_only=True, tag="clients"):
    """Values that follow from a configuration of clients.

    Args:
        noise_multiplier_added: multiplier of a round without drop-outs and colluders.
        encoding_bits: bits of one encoded value.
    """

    clients: int
    expected_cohort: float
    noise_multiplier_added: float | None
    encoding_bits: int


class ClientsMeasured(Measured, frozen=True, kw_only=True, tag="clients"):
    """The results of a run of clients.

    Args:
        accuracy_as_sent: accuracy of the model in the format of the broadcast, when that is not float32.
        rounds, skipped_rounds: number of rounds, and of those without a new model.
        client_failures: number of clients that could not answer, except simulated drop-outs.
    """

    accuracy_as_sent: float | None
    rounds: int
    skipped_rounds: int
    client_failures: int


class ClientsTrial(msgspec.Struct, frozen=True, tag="clients"):
    """A run of clients.

    Args:
        config: the requested configuration, in one process and without a baseline.

    Example:
        >>> ClientsTrial(Config()).seed
        0
    """

    config: Config

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
        own = (config.data.name, config.data.schema, config.model.name, config.model.file)
        return (*own, *map("{}:".format, self.plugins))

    @property
    def kind(self) -> tuple[object, ...]:
        """See `Trial.kind`."""
        config = self.config
        sums, data = config.secure_sum.kind, (config.data.name, config.data.clients)
        return sums, config.rounds, config.model.name, data, repr(config.cohort)

    def check(self) -> ClientsDerived:
        """See `Trial.check`."""
        # Many cells would each charge the ledger, and none of their models is kept.
        if self.config.privacy.ledger is not None:
            raise ConfigError(
                "privacy.ledger: a study charges no ledger, and its cells are releases of their own; sweep "
                "over public or simulated data, and leave the ledger to the run that is kept"
            )
        job = build_job(self.config)
        return _derived(job, _federation(job).resolve(self.config.rounds))

    def measure(self, derived: Derived) -> ClientsMeasured:
        """See `Trial.measure`."""
        wall, cpu = time.perf_counter(), time.process_time()
        config = self.config
        job = build_job(_calibrated(config, derived))
        federation = _federation(job)
        results = train(federation, config.rounds, stopping=stopping_of(config.evaluation))
        return _measured(
            job,
            results,
            stopped=federation.stopped,
            seconds=round(time.perf_counter() - wall, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
        )


class ClientsForm:
    """The form of `fedavg run`: a `Form`.

    Example:
        >>> CLIENTS.noisy({}), CLIENTS.noisy({"privacy.noise": "none"})
        (True, False)
        >>> CLIENTS.central({"privacy.noise": "central-gaussian"}), CLIENTS.central({})
        (True, False)
    """

    root: type[msgspec.Struct] = Config
    example: Mapping[str, object] = {}
    # A cell has one process, and trains once.
    without_effect = ("baseline", "simulation.workers", "simulation.engine")
    strength = ("privacy.epsilon", "privacy.noise_multiplier")
    traffic = ("secure_sum.", "encoding.", "compression.")
    columns: tuple[str, ...] = (
        *("task", "clients", "parameters", "expected_cohort", "noise_multiplier"),
        *(
            "noise_multiplier_added",
            "epsilon_budget",
            "encoding_bits",
            "ring_bits",
            "hides_updates",
        ),
        *("accuracy", "loss", "accuracy_as_sent", "epsilon_release", "epsilon_server", "delta"),
        *("headline", "headline_value", "headline_baseline", "headline_greater", "headline_share"),
        *("baseline_rule", "baseline_accuracy", "figures"),
        *("rounds", "skipped_rounds", "stopped", "bytes_up", "bytes_down", "client_failures"),
        *("seconds", "cpu_seconds"),
    )
    words = Words(
        party="client",
        exchange="round",
        vector="update",
        count="rounds",
        lost="skipped_rounds",
        lost_said="skipped",
        axis=_RELEASE,
        observers=(_RELEASE, _SERVER),
        seed="who holds what, where rows are dealt to clients, and the initial weights",
        draws="Noise and cohorts",
        price=(
            "For released models alone the sum above would be the price. This page and its tables cost more: "
            "bytes, skipped rounds, failures and the server's epsilon depend on cohort sizes, and published "
            "cohort sizes void the epsilon of outsiders."
        ),
        equal_sums=(
            "At equal bits every secure sum adds the same integers, so that their figures differ by chance "
            "only: other noise, other cohorts."
        ),
        central=(
            "Epsilon here is for an observer of the released models. With central noise, the server sees "
            "each sum before the noise, so for the server there is no bound: a better model for the same "
            "number, bought with trust in the server."
        ),
    )

    def trial(self, settings: Settings) -> ClientsTrial:
        """See `Form.trial`."""
        config = load_config(None, settings)
        simulation = msgspec.structs.replace(config.simulation, workers=0, engine="local")
        return ClientsTrial(msgspec.structs.replace(config, baseline=False, simulation=simulation))

    def asked(self, base: Settings, chosen: Settings) -> Settings:
        """Apply a combination; "none" among several noises drops settings that only noise uses."""
        wanted = base | chosen
        if self.noisy(chosen):
            return wanted
        kept = {_NOISE} | ({"privacy.delta"} - chosen.keys())
        return {
            key: v for key, v in wanted.items() if key in kept or not key.startswith(_NOISE_ONLY)
        }

    def in_effect(self, settings: Settings) -> Settings:
        """The settings without those that only noise uses, if there is no noise."""
        if self.noisy(settings):
            return settings
        return {
            key: value
            for key, value in settings.items()
            if key == _NOISE or not key.startswith(_NOISE_ONLY)
        }

    def noisy(self, settings: Settings) -> bool:
        """See `Form.noisy`."""
        return settings.get(_NOISE) != "none"

    def central(self, settings: Settings) -> bool:
        """See `Form.central`."""
        noise = registered("noise").get(str(settings.get(_NOISE)))
        return noise is not None and not cast("type[Noise]", noise).distributed

    def remarks(self, done: Sequence[Mapping[str, object]]) -> str:
        """See `Form.remarks`."""
        del done
        return ""


CLIENTS = ClientsForm()
"""The form of a study without a table that says otherwise."""


def _calibrated(config: Config, derived: Derived) -> Config:
    # The noise was calibrated when the cell was checked, and the search is not repeated.
    if derived.noise_multiplier is None:
        return config
    privacy = msgspec.structs.replace(
        config.privacy,
        noise_multiplier=derived.noise_multiplier,
        epsilon=derived.epsilon_budget,
    )
    return msgspec.structs.replace(config, privacy=privacy)


def _federation(job: Job) -> Federation:
    config = job.config
    return Federation(
        job.model,
        job.clients,
        job.plan,
        evaluate=job.task.test,
        scoring=job.scoring,
        device=job.compute.device,
        precision=job.compute.precision,
        faults=Faults(config.simulation.dropout or 0.0, config.seed),
        seed=config.seed,
        population=config.privacy.population,
    )


def _derived(job: Job, resolution: ResolvedPlan) -> ClientsDerived:
    plan = job.plan
    return ClientsDerived(
        task=job.task.description,
        clients=len(job.clients),
        parameters=job.parameters,
        expected_cohort=resolution.expected_cohort,
        noise_multiplier=resolution.noise_multiplier,
        noise_multiplier_added=resolution.noise_multiplier_added,
        epsilon_budget=plan.budget.epsilon if math.isfinite(plan.budget.epsilon) else None,
        encoding_bits=plan.encoding.bits,
        ring_bits=resolution.spec(resolution.bounds.cap, b"").modulus_bits,
        hides_updates=plan.secure_sum.hides_updates,
        warnings=resolution.warnings,
    )


def _measured(
    job: Job, results: Results, *, stopped: str, seconds: float, cpu_seconds: float
) -> ClientsMeasured:
    last = results.kept
    # Bytes are divided by the clients that were asked, so that cohorts of different sizes compare.
    drawn = sum(result.cohort for result in results)
    return ClientsMeasured(
        accuracy=None if last is None else last.accuracy,
        loss=None if last is None else last.loss,
        accuracy_as_sent=None if last is None else last.accuracy_as_sent,
        epsilon_release=None if last is None else last.epsilon_release,
        epsilon_server=None if last is None else last.epsilon_server,
        delta=job.plan.budget.delta,
        rounds=len(results),
        skipped_rounds=sum(result.skipped is not None for result in results),
        stopped=stopped,
        bytes_up=sum(result.bytes_up for result in results) / drawn if drawn else None,
        bytes_down=sum(result.bytes_down for result in results) / drawn if drawn else None,
        client_failures=sum(len(result.failures) for result in results),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        **scores_of(last),
    )
