"""One whole run that protects people or records: configuration, progress, and a run directory.

The directory holds `config.toml`, `metrics.jsonl` (which may be published as far as the held-out rows may),
`model.safetensors` (of the last scored step, and at the end of the last one), `summary.json`, `report.html`,
and in `ledgers/` the budget of each silo. The ledgers are the silos' own; only a simulation has them in one
place. A run cannot be resumed; what it charged stays charged.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import numpy as np
from rich.text import Text

from dp import Ledger, SharedLedger
from fedavg.config.builders.models import spec_of
from fedavg.config.builders.training import scoring_of
from fedavg.data.loading.loading import load
from fedavg.data.partitions.skew import skew_features
from fedavg.data.placement import place
from fedavg.data.settings import WITHOUT_NOISE
from fedavg.errors import ConfigError
from fedavg.files import replace_file
from fedavg.protocol.result import figure_row
from fedavg.records.federation import RecordFederation
from fedavg.records.table import Silo
from fedavg.reports.records.page import write_records_report
from fedavg.reports.runs.ending import why_unscored
from fedavg.runs.files.directory import RunDirectory, config_to_toml
from fedavg.runs.interrupts import postponed_interrupts
from fedavg.runs.records.notes import about_names, about_people, cautions
from fedavg.runs.records.settings import RecordRun, data_of, load_record_run, plan_of, silos_from
from fedavg.runs.terminal.progress import bars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from fedavg.data.loading.loading import Loaded
    from fedavg.data.settings import DataConfig
    from fedavg.data.task import Task
    from fedavg.models.spec import ModelSpec
    from fedavg.records.federation import StepResult
    from fedavg.records.privacy import RecordPlan
    from fedavg.training.evaluation import Scoring

__all__ = ["RecordJob", "execute_records", "planned_records", "record_job"]

_KEPT = (
    "the charges so far stay in the silos' ledgers, and {} has the model of the last scored step, if there "
    "was one; a run of records is not resumed"
)


def execute_records(
    config_path: Path | None, overrides: Mapping[str, object], out: Path, console: Console
) -> dict[str, Any]:
    """Run a configuration of records until its end, the end of a budget, or an interruption.

    Args:
        config_path: TOML file, or None for the built-in example.
        overrides: dotted keys that override its settings.
        out: run directory to create.
        console: console for progress.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        FedAvgError: the configuration is invalid; raised before anything is written. The packages' own errors
            are raised too.
        CheckpointError: a file cannot be written, such as on a full disk; the charges so far stay.
    """
    RunDirectory.check(out)
    config = load_record_run(config_path, overrides)
    found, job = _told(config, console)
    plan = job.plan

    with ExitStack() as held:

        def begun() -> dict[int, SharedLedger]:
            """Make the directory and the ledgers, once nothing is left that could be refused."""
            directory = RunDirectory(out)
            held.enter_context(directory.told(_KEPT.format(out)))
            held.enter_context(directory.begun())
            settled = msgspec.structs.replace(config, data=found.data)
            replace_file(out / "config.toml", config_to_toml(settled))
            folder = Path(config.records.ledgers) if config.records.ledgers else out / "ledgers"
            return _ledgers(folder, found.names, plan.privacy.epsilon, plan.privacy.delta)

        run = job.federation(begun)
        return _run(run, config, job.task.description, RunDirectory.reopen(out), console)


def planned_records(
    config_path: Path | None, overrides: Mapping[str, object], console: Console
) -> RecordFederation:
    """Check everything that a run would check, and print what it would print before its first step.

    Nothing is run, charged or written, and ledgers of earlier runs are not read.

    Args:
        config_path: TOML file, or None for the built-in example.
        overrides: dotted keys that override its settings.
        console: console for what is said.

    Returns:
        The federation, with new budgets in memory.

    Raises:
        FedAvgError: as `execute_records`.
    """
    _, job = _told(load_record_run(config_path, overrides), console)
    run = job.federation()
    console.print(_announcement(run), highlight=False)
    return run


def _told(config: RecordRun, console: Console) -> tuple[_Gathered, RecordJob]:
    """The silos and the plan, after everything is said that the data and the plan give cause to."""
    found = _gathered(config)
    for note in (*found.task.notes, *found.notes, *about_people(config, found.silos)):
        console.print(note, highlight=False, markup=False)
    job = _job(config, found)
    for caution in cautions(job.plan.privacy):
        console.print(Text.assemble(("Warning: ", "yellow"), caution), highlight=False)
    return found, job


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RecordJob:
    """Everything that a configuration stands for, without a run directory.

    Args:
        model: the model's specification.
        silos: the silos by number.
        plan: the plan.
        task: the held-out examples, and a description.
        scoring: how released models are scored.
    """

    model: ModelSpec
    silos: Mapping[int, Silo]
    plan: RecordPlan
    task: Task
    scoring: Scoring

    def federation(
        self, ledgers: Callable[[], Mapping[int, SharedLedger]] | None = None
    ) -> RecordFederation:
        """The federation of these silos, once everything is checked.

        Args:
            ledgers: gives each silo's budget; None gives every silo a new one in memory.
        """
        return RecordFederation(
            self.model,
            self.silos,
            self.plan,
            evaluate=self.task.test,
            scoring=self.scoring,
            ledgers=ledgers,
        )


def record_job(config: RecordRun) -> RecordJob:
    """Load the data of a configuration, and settle its plan.

    Raises:
        DataError, ConfigError, PlanError: the configuration or the data is invalid.
    """
    return _job(config, _gathered(config))


def _job(config: RecordRun, found: _Gathered) -> RecordJob:
    plan = plan_of(config, found.silos, public_counts=not found.own)
    given = tuple(int(n) for n in found.task.train.features.shape[1:])
    shape = given if plan.features is None else plan.features.shape(given)
    model = spec_of(config.model, shape, found.task.outputs, seed=config.seed)
    scoring = replace(scoring_of(config.evaluation, found.task), loss=plan.loss)
    return RecordJob(model, found.silos, plan, found.task, scoring)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Gathered:
    """The silos that a configuration names.

    Args:
        silos: the silos by number.
        names: the name of each; the number itself where persons or records were dealt.
        task: the held-out examples, and the model's inputs.
        data: the table [data] with every chosen setting.
        own: whether the numbers of rows are private.
        notes: sentences for the terminal.
    """

    silos: dict[int, Silo]
    names: dict[int, str]
    task: Task
    data: DataConfig
    own: bool
    notes: tuple[str, ...] = ()


def _gathered(config: RecordRun) -> _Gathered:
    """The silos of a configuration, of a column or dealt."""
    data = data_of(config)
    try:
        # Under noise no statistic of rows is taken, because no budget would count it.
        loaded = load(data, private=True)
    except ConfigError as error:
        raise ConfigError(str(error).removesuffix(WITHOUT_NOISE)) from error
    if config.records.silo:
        return _of_column(config, loaded)
    owned = loaded.examples.owners is not None
    # A column of owners says how many there are; otherwise records are dealt over the silos.
    if not owned and data.clients is None:
        data = msgspec.structs.replace(data, clients=config.records.dealt, partition="iid")
    placed = place(data, None, seed=config.seed)
    silos = silos_from(config, placed.clients, owned=owned)
    names = {number: str(number) for number in silos}
    return _Gathered(silos, names, placed.task, placed.config, placed.own)


def _of_column(config: RecordRun, loaded: Loaded) -> _Gathered:
    """The silos that a column of the table names, each with its own rows and persons."""
    examples, data = loaded.examples, loaded.config
    if examples.groups is None:
        raise ConfigError(f"{data.name} has no column of silos: leave out records.silo")
    codes, names = examples.groups
    present = np.unique(codes[codes >= 0])
    pieces = [np.flatnonzero(codes == code) for code in present]
    task, clients = examples.placed(pieces, None, seed=config.seed)
    skew = data.feature_skew
    clients = skew_features(clients, skew, strength=data.feature_strength, seed=config.seed)
    people = examples.owners if config.records.unit == "person" else None
    if people is not None and len(present) > len(people[1]):
        raise ConfigError(
            f"{config.records.silo!r} (records.silo) has more values to train on than {data.client!r} "
            "(data.client) has: are the column of silos and that of persons mistaken for one another?"
        )
    silos = {
        number: Silo(clients[number], None if people is None else people[0][piece])
        for number, piece in enumerate(pieces)
    }
    called = {number: names[code] for number, code in enumerate(present)}
    said = about_names(config.records.silo, names, called.values(), int((codes < 0).sum()))
    return _Gathered(silos, called, task, data, own=True, notes=said)


def _ledgers(
    folder: Path, names: Mapping[int, str], epsilon: float, delta: float
) -> dict[int, SharedLedger]:
    """Each silo's ledger, made over this run's budget where the folder has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, SharedLedger] = {}
    for silo, name in names.items():
        # A silo keeps its ledger by its name: its number depends on which other silos are in the table.
        path = folder / f"silo-{quote(name, safe='')}.json"
        there = path.exists()
        found[silo] = (
            SharedLedger(path) if there else SharedLedger.create(path, Ledger(epsilon, delta))
        )
    return found


def _run(
    run: RecordFederation,
    config: RecordRun,
    title: str,
    directory: RunDirectory,
    console: Console,
) -> dict[str, Any]:
    begun, rows, last = time.perf_counter(), list[dict[str, Any]](), None
    sent, received, voided, shortened, silos = 0, 0, 0, 0, run.resolution.silos
    stages: Counter[str] = Counter()
    console.print(_announcement(run), highlight=False)
    steps = run.run(score_every=config.score_every)
    with bars(console) as progress:
        bar = progress.add_task("records", total=config.steps, status=f"{silos} silos")
        try:
            for last in steps:
                sent, received = sent + last.bytes_up, received + last.bytes_down
                voided += len(last.voided)
                shortened += last.shortened
                stages.update(last.seconds)
                if last.evaluation is not None:
                    rows.append(_row(run, last))
                    with postponed_interrupts():
                        # A run that is killed was charged, and is not resumed: the model is kept as it goes.
                        directory.write_model(run.model_file())
                        directory.write_rows("metrics.jsonl", rows)
                    first = last.evaluation.headline
                    progress.update(bar, status=f"{first.name} {first.text(first.value)}")
                progress.update(bar, advance=1)
        except KeyboardInterrupt:
            steps.close()
            console.print("Interrupted: the charges so far stay in the silos' ledgers.")
    directory.write_model(run.model_file())
    summary = _summary(run, last, rows) | {
        "task": title,
        "ledgers": _finite(max(run.spent.values(), default=0.0)),
        "budget": run.resolution.plan.privacy.epsilon,
        "bytes_up": sent,
        "bytes_down": received,
        "stages": dict(stages),
        "voided": voided,
        "shortened": shortened,
        "seconds": round(time.perf_counter() - begun, 2),
    }
    directory.write_json("summary.json", summary)
    write_records_report(directory.path)
    return summary


def _announcement(run: RecordFederation) -> str:
    found, privacy = run.resolution, run.resolution.plan.privacy
    groups = ""
    if found.plan.robust is not None:
        groups = f" in {len(found.sizes)} groups of {' or '.join(map(str, sorted({*found.sizes})))}"
    moves = f"; {found.clip_told}" if found.clip_told else ""
    few = ""
    if privacy.by_person:
        few = f" with at most {privacy.rows} row{'' if privacy.rows == 1 else 's'}"
    return (
        f"{found.silos} silos{groups}; one {privacy.unit} is drawn{few} with probability {privacy.rate:g} in "
        f"each of {found.plan.steps} steps, whose sum is divided by {found.plan.divisor:g}; the noise "
        f"multiplier is {found.noise_multiplier:.3f}, and a sum has {found.noise_overhead:.2f} times as much "
        f"noise, since colluding silos know their own shares{moves}"
    )


def _row(run: RecordFederation, result: StepResult) -> dict[str, Any]:
    """One scored step, which may be published as far as the held-out rows may."""
    evaluation = result.evaluation
    figures, spent = () if evaluation is None else evaluation.figures, run.epsilons
    return {
        "step": result.step,
        "loss": None if evaluation is None else _finite(evaluation.loss),
        "headline": figures[0].name if figures else None,
        "figures": [figure_row(figure) for figure in figures],
        "clip": result.clip,
        "epsilon_release": _finite(spent.release),
        "epsilon_colluding": _finite(spent.colluding),
    }


def _summary(
    run: RecordFederation, last: StepResult | None, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    found, privacy = run.resolution, run.resolution.plan.privacy
    three = {name: _finite(value) for name, value in asdict(run.epsilons).items()}
    kept = rows[-1]["figures"] if rows else []
    return {
        "unit": privacy.unit,
        "silos": found.silos,
        "steps": 0 if last is None else last.step,
        "steps_planned": found.plan.steps,
        "stopped": run.stopped,
        "parameters": found.vector_length,
        "figures": kept,
        "unscored": why_unscored(rows, next(iter(kept), None), counted="step", rates="[server] lr"),
        "epsilon": three,
        "epsilon_two_silos": _finite(run.epsilon_two_silos),
        "rate": privacy.rate,
        "rows": privacy.rows,
        "divisor": found.plan.divisor,
        "noise": privacy.noise,
        "noise_multiplier": found.noise_multiplier,
        "noise_overhead": found.noise_overhead,
        "clip": run.clip,
        "clip_told": found.clip_told,
        "slots": found.most_units,
        "missing": found.missing,
        "groups": list(found.sizes) if found.plan.robust is not None else [],
        "robust": None if found.plan.robust is None else found.plan.robust.kind,
        "reach": asdict(run.reach),
        "secure_sum": found.plan.secure_sum.kind,
        "hides_updates": found.plan.secure_sum.hides_updates,
        "assumptions": list(
            found.plan.secure_sum.assumptions(found.spec(found.summed, found.digest))
        ),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
