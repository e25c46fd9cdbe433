"""One whole run that protects people or records: configuration, progress, and a run directory.

The directory holds `config.toml`, `metrics.jsonl` (which may be published as far as the held-out rows may),
`summary.json`, `model.safetensors`, and in `ledgers/` the budget of each silo. The ledgers are the silos'
own; only a simulation has them in one place. A run cannot be resumed; what it charged stays charged.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dp import Ledger, SharedLedger
from fedavg.config.models import spec_of
from fedavg.config.training import scoring_of
from fedavg.data.placement import load, place
from fedavg.files import replace_file
from fedavg.protocol.result import figure_row
from fedavg.records.federation import RecordFederation
from fedavg.runs.directory import RunDirectory, config_to_toml
from fedavg.runs.progress import bars
from fedavg.runs.record_settings import RecordRun, load_record_run, plan_of, silos_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from fedavg.records.federation import StepResult

__all__ = ["execute_records"]


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
    """
    RunDirectory.check(out)
    config = load_record_run(config_path, overrides)
    data = config.data
    # Under noise no statistic of rows is taken, because no budget would count it.
    owned = load(data, private=True).examples.owners is not None
    # A column of owners says how many there are; otherwise records are dealt over the silos.
    if not owned and data.clients is None:
        data = msgspec.structs.replace(data, clients=config.records.silos, partition="iid")
    placed = place(data, None, seed=config.seed)
    silos = silos_from(config, placed.clients, owned=owned)
    plan = plan_of(config, silos, public_counts=not placed.own)
    task = placed.task
    shape = tuple(int(n) for n in task.train.features.shape[1:])
    scoring = replace(scoring_of(config.evaluation, task), loss=plan.loss)
    model = spec_of(config.model, shape, task.outputs, seed=config.seed)

    def federation(ledgers: Mapping[int, Ledger | SharedLedger] | None) -> RecordFederation:
        return RecordFederation(
            model, silos, plan, evaluate=task.test, scoring=scoring, ledgers=ledgers
        )

    federation(None)  # refuses what does not add up before a directory is made
    directory = RunDirectory(out)
    settled = msgspec.structs.replace(config, data=placed.config)
    replace_file(out / "config.toml", config_to_toml(settled))
    folder = Path(config.records.ledgers) if config.records.ledgers else out / "ledgers"
    run = federation(_ledgers(folder, silos, plan.privacy.epsilon, plan.privacy.delta))
    return _run(run, config, directory, console)


def _ledgers(
    folder: Path, silos: Iterable[int], epsilon: float, delta: float
) -> dict[int, SharedLedger]:
    """Each silo's ledger, made over this run's budget where the folder has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, SharedLedger] = {}
    for silo in silos:
        path = folder / f"silo-{silo}.json"
        there = path.exists()
        found[silo] = (
            SharedLedger(path) if there else SharedLedger.create(path, Ledger(epsilon, delta))
        )
    return found


def _run(
    run: RecordFederation, config: RecordRun, directory: RunDirectory, console: Console
) -> dict[str, Any]:
    begun, rows, last = time.perf_counter(), list[dict[str, Any]](), None
    sent, voided, silos = 0, 0, run.resolution.silos
    console.print(_announcement(run), highlight=False)
    steps = run.run(score_every=config.score_every)
    with bars(console) as progress:
        bar = progress.add_task("records", total=config.steps, status=f"{silos} silos")
        try:
            for last in steps:
                sent, voided = sent + last.bytes_up, voided + len(last.voided)
                if last.evaluation is not None:
                    rows.append(_row(run, last))
                    lines = "".join(json.dumps(row) + "\n" for row in rows)
                    replace_file(directory.path / "metrics.jsonl", lines.encode())
                    status = f"{rows[-1]['headline']} {rows[-1]['figures'][0]['value']:.4f}"
                    progress.update(bar, status=status)
                progress.update(bar, advance=1)
        except KeyboardInterrupt:
            steps.close()
            console.print("Interrupted: the charges so far stay in the silos' ledgers.")
    directory.write_model(run.model_file())
    summary = _summary(run, last, rows) | {
        "bytes_up": sent,
        "voided": voided,
        "seconds": round(time.perf_counter() - begun, 2),
    }
    directory.write_json("summary.json", summary)
    return summary


def _announcement(run: RecordFederation) -> str:
    found, privacy = run.resolution, run.resolution.plan.privacy
    return (
        f"{found.silos} silos; one {privacy.unit} is drawn with probability {privacy.rate:g} in each of "
        f"{found.plan.steps} steps; the noise multiplier is {found.noise_multiplier:.3f}, and a sum carries "
        f"{found.noise_overhead:.2f} times as much noise, since colluding silos know their own shares"
    )


def _row(run: RecordFederation, result: StepResult) -> dict[str, Any]:
    """One scored step, which may be published as far as the held-out rows may."""
    evaluation = result.evaluation
    figures = () if evaluation is None else evaluation.figures
    return {
        "step": result.step,
        "loss": None if evaluation is None else evaluation.loss,
        "headline": figures[0].name if figures else None,
        "figures": [figure_row(figure) for figure in figures],
        "epsilon_release": _finite(run.epsilons.release),
    }


def _summary(
    run: RecordFederation, last: StepResult | None, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    found, privacy = run.resolution, run.resolution.plan.privacy
    three = {name: _finite(value) for name, value in asdict(run.epsilons).items()}
    return {
        "unit": privacy.unit,
        "silos": found.silos,
        "steps": 0 if last is None else last.step,
        "steps_planned": found.plan.steps,
        "stopped": run.stopped,
        "parameters": found.vector_length,
        "figures": rows[-1]["figures"] if rows else [],
        "epsilon": three,
        "noise": privacy.noise,
        "noise_multiplier": found.noise_multiplier,
        "noise_overhead": found.noise_overhead,
        "slots": found.most_units,
        "secure_sum": found.plan.secure_sum.kind,
        "assumptions": list(found.plan.secure_sum.assumptions),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
