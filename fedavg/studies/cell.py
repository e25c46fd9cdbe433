"""One cell of a study, from its configuration to its figures, inside a worker process."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import msgspec

from dp import DpError
from fedavg.config.build import build_job
from fedavg.config.builders.training import stopping_of
from fedavg.errors import ConfigError, FedAvgError
from fedavg.federation.federation import Federation
from fedavg.federation.results import train
from fedavg.simulation.faults import Faults
from he import HeError
from secagg import SecAggError

if TYPE_CHECKING:
    from fedavg.config.build import Config, Job
    from fedavg.federation.results import Results
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["REFUSALS", "Derived", "Measured", "check", "measure"]

REFUSALS = (FedAvgError, SecAggError, HeError, DpError)


class Derived(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values that follow from a configuration before any training.

    Args:
        noise_multiplier: calibrated or given multiplier, which the accountant uses.
        noise_multiplier_added: multiplier of a round without drop-outs and colluders.
        epsilon_budget: limit of `epsilon_release`; None without one.
        encoding_bits, ring_bits: bits of one encoded value, and of the sum's modulus.
        warnings: warnings about a sound but unpromising plan.
    """

    task: str
    clients: int
    parameters: int
    expected_cohort: float
    noise_multiplier: float | None
    noise_multiplier_added: float | None
    epsilon_budget: float | None
    encoding_bits: int
    ring_bits: int
    hides_updates: bool
    warnings: tuple[str, ...]


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The results of one finished run.

    Args:
        accuracy, loss: figures of the model that the run keeps, the last or the best one, on held-out
        examples.
        headline, headline_value: the most informative figure of the task, and its value.
        headline_greater, headline_share: whether a larger value is better, and whether it is a share.
        baseline_rule, baseline_accuracy, headline_baseline: the constant prediction on the same examples, its
            accuracy, and the headline's value for it.
        figures: all figures of that model, by name; those of single classes or targets among them.
        accuracy_as_sent: accuracy of that model in the format of the broadcast, when that is not float32.
        epsilon_release, epsilon_server: values at the end; None for no bound.
        rounds, skipped_rounds: number of rounds, and of those without a new model.
        bytes_up, bytes_down: bytes for each client and round, the mean over all clients drawn.
        client_failures: number of clients that could not answer, except simulated drop-outs.
        seconds, cpu_seconds: time of data, rounds, and an evaluation after each; without the calibration.
    """

    accuracy: float | None
    loss: float | None
    accuracy_as_sent: float | None
    epsilon_release: float | None
    epsilon_server: float | None
    delta: float
    rounds: int
    skipped_rounds: int
    stopped: str
    bytes_up: float | None
    bytes_down: float | None
    client_failures: int
    seconds: float
    cpu_seconds: float
    headline: str | None = None
    headline_value: float | None = None
    headline_baseline: float | None = None
    headline_greater: bool | None = None
    headline_share: bool | None = None
    baseline_rule: str | None = None
    baseline_accuracy: float | None = None
    figures: dict[str, float | None] = {}


def check(config: Config) -> Derived:
    """Build a cell without running it: load the data, make the plan, calibrate its noise.

    Raises:
        FedAvgError: the cell is invalid. The packages' own errors are raised too.
    """
    # Many cells would each charge the ledger, and none of their models is kept.
    if config.privacy.ledger is not None:
        raise ConfigError(
            "privacy.ledger: a study charges no ledger, and its cells are releases of their own; sweep over "
            "public or simulated data, and leave the ledger to the run that is kept"
        )
    job = build_job(config)
    return _derived(job, _federation(job).resolve(config.rounds))


def measure(config: Config, derived: Derived) -> Measured:
    """Run a cell to its end, or to the end of its budget.

    Args:
        config: configuration of the cell.
        derived: result of `check`, so that the noise is not calibrated again.

    Raises:
        FedAvgError: the run failed. The packages' own errors are raised too.
    """
    wall, cpu = time.perf_counter(), time.process_time()
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


def _derived(job: Job, resolution: ResolvedPlan) -> Derived:
    plan = job.plan
    return Derived(
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
) -> Measured:
    last = results.kept
    headline = None if last is None else last.headline
    accuracy = None if last is None else last.figure("accuracy")
    # Bytes are divided by the clients that were asked, so that cohorts of different sizes compare.
    drawn = sum(result.cohort for result in results)
    return Measured(
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
        headline=None if headline is None else headline.name,
        headline_value=None if headline is None else headline.value,
        headline_baseline=None if headline is None else headline.baseline.value,
        headline_greater=None if headline is None else headline.greater_is_better,
        headline_share=None if headline is None else headline.share,
        baseline_rule=None if headline is None else headline.baseline.rule,
        baseline_accuracy=None if accuracy is None else accuracy.baseline.value,
        figures={} if last is None else {found.name: found.value for found in last.figures},
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )
