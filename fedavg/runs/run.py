"""One whole run: it reads a configuration, shows progress, and writes a run directory with a report."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.algorithms.personal.scores import summary_of
from fedavg.config.build import build_job, load_config
from fedavg.config.builders.training import stopping_of
from fedavg.errors import CheckpointError, ConfigError
from fedavg.federation.checkpoint import RunJournal, fingerprint
from fedavg.federation.federation import Federation
from fedavg.federation.results import train
from fedavg.federation.shared import SharedBudget
from fedavg.protocol.result import NOTHING_LEARNT, result_of_row
from fedavg.protocol.transcript import Transcript
from fedavg.reports.runs.ending import why_unscored
from fedavg.reports.runs.run import write_report
from fedavg.runs.files.content import keep_content
from fedavg.runs.files.directory import RunDirectory, of_records
from fedavg.runs.files.summary import summary_of_run
from fedavg.runs.interrupts import postponed_interrupts
from fedavg.runs.scoring.baseline import unprotected
from fedavg.runs.scoring.evaluation import write_evaluation
from fedavg.runs.scoring.fairness import write_fairness
from fedavg.runs.server_view import server_view
from fedavg.runs.simulations import passing_store, prepare, simulation_of
from fedavg.runs.stopping import Keeper
from fedavg.runs.terminal.announcement import announce
from fedavg.runs.terminal.progress import Failures, bars, status_of, tell
from fedavg.simulation.faults import Faults

if TYPE_CHECKING:
    from rich.console import Console

    from fedavg.config.build import Config, Job
    from fedavg.federation.checkpoint import Restart
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.result import RoundResult

__all__ = ["Outcome", "execute", "resume"]

_RECORDED = 0  # index of the round whose bytes a report shows
_KEPT = (
    "everything up to the last finished round is kept. Once the system has room: fedavg resume {}"
)
_ENDED = ("finished", "budget", "early", NOTHING_LEARNT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of a run."""

    directory: Path
    report: Path
    summary: dict[str, Any]


def _job(config: Config) -> Job:
    """The job of a configuration; workers load while data is read and noise is calibrated."""
    prepare(config.simulation)
    return build_job(config)


def execute(
    config_path: Path | None, overrides: dict[str, object], out: Path, console: Console
) -> Outcome:
    """Run a configuration until its end, the end of its budget, or an interruption.

    Args:
        config_path: TOML file, or None for the built-in example.
        overrides: dotted keys that override its settings.
        out: run directory to create.
        console: console for progress.

    Raises:
        FedAvgError: the configuration is invalid; raised before anything is written. The packages' own errors
            are raised too.
        CheckpointError: a file cannot be written, such as on a full disk; the run can be resumed.
    """
    RunDirectory.check(out)
    job = _job(load_config(config_path, overrides))
    # A federation without a journal tries everything out, so that refusals leave no directory behind.
    resolution = _federation(job).resolve(job.config.rounds)
    shared = _shared(job, out)
    announce(job, resolution, shared, console)
    directory = RunDirectory(out)
    with directory.told(_KEPT.format(out)), directory.begun():
        # The resolved configuration is what a resumed run reads, so that it derives the same numbers.
        directory.write_config(_resolved(job, resolution, shared))
        return _execute(job, directory, console, None, shared)


def resume(run: Path, console: Console) -> Outcome:
    """Continue a run that was interrupted or killed.

    Without noise the result is that of an uninterrupted run, as far as it does not depend on the draws of
    cohorts.  Under DP the round that was running stays charged and gives no model; plan and budget are the
    same.

    Args:
        run: run directory.
        console: console for progress.

    Raises:
        ConfigError: the folder is no run directory, another process runs it, or the run is finished.
        CheckpointError: the run cannot be resumed.
    """
    directory = RunDirectory.reopen(run)
    if of_records(run / "config.toml"):
        raise ConfigError(
            f"{run} is a run of records, which is not resumed: what it charged stays in the silos' ledgers. "
            f"Begin another one: fedavg records {run / 'config.toml'} --out …"
        )
    with directory.told(_KEPT.format(run)), directory.locked():
        if directory.read_summary().get("stopped") in _ENDED:
            if (run / "report.html").exists():
                raise ConfigError(f"{run} is finished: there is nothing to resume")
            console.print("All rounds were done; only the report is missing.")
        restart = RunJournal(run).load()
        job = _job(load_config(run / "config.toml"))
        done = 0 if restart is None else restart.checkpoint.rounds_done
        console.print(f"Going on after round {done} of {job.config.rounds}.", highlight=False)
        return _execute(job, directory, console, restart, _shared(job, run))


def _shared(job: Job, run: Path) -> SharedBudget | None:
    """The budget that the run shares with others, if it names one."""
    ledger = job.config.privacy.ledger
    return None if ledger is None else SharedBudget(Path(ledger), str(run.resolve()))


def _execute(
    job: Job,
    directory: RunDirectory,
    console: Console,
    restart: Restart | None,
    shared: SharedBudget | None,
) -> Outcome:
    config, path = job.config, directory.path
    federation = _federation(job, RunJournal(path), restart, path / "clients", shared)
    resolution = federation.resolve(config.rounds)
    # A changed file may change the plan's numbers too, and an answer about the plan would not name the file.
    keep_content(directory, job.clients, job.task.test, begins=restart is None)
    if restart is not None:  # before anything in the directory is written anew
        mark = fingerprint(resolution, federation.layout, config.seed)
        clients = job.clients.keys()
        restart.check(mark, federation.layout.size, clients, job.plan.budget)
    # The time of earlier starts counts too.
    before = float(directory.read_summary().get("seconds") or 0.0)
    clock = _Clock(time.perf_counter() - before)
    last = None if restart is None else _last(restart)
    directory.repair_logs(last)
    begun = summary_of_run(job, resolution, federation, last) | {"seconds": clock.seconds}
    directory.write_json("summary.json", begun)
    keeper = Keeper(job, directory, restart)
    last, failures = _train(job, federation, resolution, keeper, console, clock, restart)
    summary: dict[str, Any] = summary_of_run(job, resolution, federation, last)
    summary["seconds"] = clock.seconds
    # Scores of single clients are private; the summary has their distribution only.
    if job.plan.personalization is not None and federation.scores:
        directory.write_private("personal.jsonl", [asdict(score) for score in federation.scores])
        kind = job.plan.personalization.kind
        summary["personalization"] = summary_of(kind, federation.scores, federation.headline)
    directory.write_json("summary.json", summary)
    if federation.stopped != "interrupted":
        summary |= keeper.keep(federation)
        write_evaluation(job, federation, directory, keeper.vector)
        if config.evaluation.by_client:
            summary |= write_fairness(job, federation, directory, keeper.vector)
    summary["skipped"] = directory.skipped()
    if federation.stopped != "interrupted":
        kept = next(iter(summary["figures"]), None)
        summary["unscored"] = why_unscored(directory.read_rows("metrics.jsonl"), kept)
    if federation.stopped == NOTHING_LEARNT:
        summary["why"] = failures.why()
    elif config.baseline and federation.stopped != "interrupted":
        with passing_store(config.simulation, path) as store:
            summary |= _baseline(job, console, store)
    summary["seconds"] = clock.seconds
    directory.write_json("summary.json", summary)
    if shared is not None:
        console.print(shared.status(), highlight=False)
    return Outcome(directory.path, write_report(directory.path), summary)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Wall time of a run, over all its starts."""

    began: float

    @property
    def seconds(self) -> float:
        return round(time.perf_counter() - self.began, 2)


def _last(restart: Restart) -> RoundResult | None:
    """The last finished round, from its checkpoint."""
    row = restart.checkpoint.last
    if row is None:
        return None
    try:
        return result_of_row(row)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint's last round is damaged: {error}") from error


def _resolved(job: Job, resolution: ResolvedPlan, shared: SharedBudget | None) -> Config:
    """The configuration with all derived values filled in, so that running it again derives the same."""
    config, plan = job.config, job.plan
    encoding = msgspec.structs.replace(config.encoding, bits=plan.encoding.bits)
    model = config.model
    if model.file:
        # A relative path would depend on the folder from which the run is resumed.
        file, digest = str(Path(model.file).resolve()), job.model.digest
        model = msgspec.structs.replace(model, file=file, digest=digest)
    privacy = config.privacy
    if plan.noise is not None:
        privacy = msgspec.structs.replace(
            privacy,
            noise_multiplier=plan.noise.noise_multiplier,
            epsilon=plan.budget.epsilon if math.isfinite(plan.budget.epsilon) else None,
            max_participations=resolution.max_participations,
            ledger=None if shared is None else str(shared.path),
        )
    return msgspec.structs.replace(config, encoding=encoding, privacy=privacy, model=model)


def _federation(
    job: Job,
    journal: RunJournal | None = None,
    restart: Restart | None = None,
    client_store: Path | None = None,
    shared: SharedBudget | None = None,
) -> Federation:
    recorded = _RECORDED if restart is None else restart.checkpoint.rounds_done
    return Federation(
        job.model,
        job.clients,
        job.plan,
        evaluate=job.task.test,
        workers=job.workers,
        simulation=simulation_of(job.config.simulation),
        faults=Faults(job.config.simulation.dropout or 0.0, job.config.seed),
        population=job.config.privacy.population,
        seed=job.config.seed,
        transcript=Transcript(frozenset({recorded})),
        journal=journal,
        client_store=client_store,
        shared=shared,
        scoring=job.scoring,
        device=job.compute.device,
        precision=job.compute.precision,
    )


def _train(
    job: Job,
    federation: Federation,
    resolution: ResolvedPlan,
    keeper: Keeper,
    console: Console,
    clock: _Clock,
    restart: Restart | None,
) -> tuple[RoundResult | None, Failures]:
    directory, failures = keeper.directory, Failures()
    last = None if restart is None else _last(restart)
    total, done = job.config.rounds, 0 if last is None else last.round
    if restart is not None:
        # A crash may fall between the checkpoint and the model's file, so the file is written again.
        directory.write_model(federation.model_file(restart.checkpoint.model.released))
    view_written = (directory.path / "server_view.json").exists()
    rounds = federation.run(total, restart, keeper.until, keeper.best)
    with bars(console) as progress:
        bar = progress.add_task(
            "protected", total=total, completed=done, status="enrolling clients"
        )
        try:
            for result in rounds:
                with postponed_interrupts():  # so that a round is in all of these files, or in none
                    last = result
                    directory.append(result)
                    directory.write_model(federation.model_file())
                    keeper.take(result, federation)
                    summary = summary_of_run(job, resolution, federation, last)
                    directory.write_json("summary.json", summary | {"seconds": clock.seconds})
                    view_written = view_written or _write_view(
                        federation, resolution, directory, result
                    )
                failures.add(result)
                tell(result, console)
                own = job.plan.personalization is not None and result.round == total
                status = "clients train and score" if own else status_of(result)
                progress.update(bar, advance=1, status=status)
        except KeyboardInterrupt:
            console.print("Interrupted: everything up to the last finished round is kept.")
            rounds.close()
            federation.stopped = "interrupted"
    return last, failures


def _write_view(
    federation: Federation, resolution: ResolvedPlan, directory: RunDirectory, result: RoundResult
) -> bool:
    """Write the server's view of the recorded round; if that has no sum, record the next round."""
    record = federation.transcript
    if record is None:
        return True
    view = None if result.skipped is not None else server_view(federation, resolution)
    if view is None:
        record.entries.clear()
        record.rounds = frozenset(
            {result.round}
        )  # index of the next round, since results count from 1
        return False
    directory.write_json("server_view.json", view)
    record.entries.clear()
    return True


def _baseline(job: Job, console: Console, store: Path | None) -> dict[str, Any]:
    """The figures of the same training without protection, for the summary; {} when interrupted."""
    plan = unprotected(job.plan, job.config.encoding.range)
    federation = Federation(
        job.model,
        job.clients,
        plan,
        evaluate=job.task.test,
        workers=job.workers,
        simulation=simulation_of(job.config.simulation),
        client_store=store,
        population=job.config.privacy.population,
        seed=job.config.seed,
        scoring=job.scoring,
        device=job.compute.device,
        precision=job.compute.precision,
    )
    with bars(console) as progress:
        bar = progress.add_task("unprotected", total=job.config.rounds, status="")

        def show(result: RoundResult) -> None:
            progress.update(bar, advance=1, status=status_of(result))

        stopping = stopping_of(job.config.evaluation)  # as in the run: the two are compared
        try:
            results = train(federation, job.config.rounds, callbacks=(show,), stopping=stopping)
        except KeyboardInterrupt:
            console.print("Interrupted: no figures without protection.")
            return {}
    kept = results.kept
    if kept is None or kept.headline is None:
        return {}
    return {"baseline_accuracy": kept.accuracy, "unprotected": kept.headline.value}
