"""An audit of a configuration or of a run's plan, with progress display and a JSON file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedavg import checks
from fedavg.audits.audit import audit_plan
from fedavg.audits.evidence import FEWEST_CANARIES
from fedavg.audits.records import audit_records, check_canaries
from fedavg.config.build import build_job, load_config
from fedavg.errors import ConfigError, ReportError
from fedavg.files import check_writable, replace_file
from fedavg.runs.files.directory import of_records
from fedavg.runs.records.run import record_job
from fedavg.runs.records.settings import load_record_run
from fedavg.simulation.faults import Faults

if TYPE_CHECKING:
    from rich.console import Console

    from fedavg.audits.audit import PlanAudit
    from fedavg.audits.records import RecordAudit

__all__ = ["audit_configured"]


def audit_configured(
    source: Path | None,
    console: Console,
    *,
    canaries: int | None = None,
    rounds: int | None = None,
    confidence: float = 0.95,
    protected: bool = False,
    out: Path | None = None,
) -> tuple[PlanAudit | RecordAudit, Path]:
    """Audit the plan of a configuration, or of a run directory's resolved configuration.

    A configuration with a table [records] is audited by canary units of one silo.

    Args:
        source: a TOML file or a run directory; None for the built-in example.
        console: console for progress.
        canaries: see `fedavg.audits.audit.audit_plan`.
        rounds: number of rounds, or of steps of records; None takes the configured number.
        confidence: see `fedavg.audits.audit.audit_plan`.
        protected: whether to run the configured secure sum instead of its replacement in the clear.
        out: JSON file; None writes audit.json into the run directory, or into the working directory.

    Returns:
        The audit, and the file that it was written to.

    Raises:
        ConfigError: the folder is no run directory, or the configuration is invalid.
        ReportError: the file cannot be written.
        PlanError: the plan is not sound, or has no noise. The packages' own errors are raised too.
    """
    confidence = checks.config.proper_fraction("confidence, such as 0.95,", confidence)
    # Numbers are checked before the data is read, which may take long.
    for name, count in (("canaries", canaries), ("rounds", rounds)):
        if count is not None:
            checks.config.whole(name, count, FEWEST_CANARIES if name == "canaries" else 1)
    config_path, path = source, out or Path("audit.json")
    if source is not None and source.is_dir():
        config_path = source / "config.toml"
        if not config_path.is_file():
            raise ConfigError(f"{source} is no run directory: it holds no config.toml")
        path = out or source / "audit.json"
    check_writable(path)
    if config_path is not None and of_records(config_path):
        found = _audited_records(
            config_path,
            console,
            canaries=canaries,
            steps=rounds,
            confidence=confidence,
            protected=protected,
        )
        _write(path, found)
        return found, path
    config = load_config(config_path, {} if rounds is None else {"rounds": rounds})
    job = build_job(config)
    with contextlib.ExitStack() as shown:
        progress = _bar(console)
        task = progress.add_task("rounds with canaries", total=config.rounds)
        audited = audit_plan(
            job.model,
            job.clients,
            job.plan,
            config.rounds,
            canaries=canaries,
            confidence=confidence,
            in_the_clear=not protected,
            faults=Faults(job.config.simulation.dropout or 0.0, config.seed),
            seed=config.seed,
            compute=job.compute,
            on_start=lambda: shown.enter_context(progress),
            on_round=lambda _: progress.advance(task),
        )
    _write(path, audited)
    return audited, path


def _bar(console: Console) -> Progress:
    """A bar that is shown once it is entered, which an audit does after its refusals."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _audited_records(
    path: Path,
    console: Console,
    *,
    canaries: int | None,
    steps: int | None,
    confidence: float,
    protected: bool,
) -> RecordAudit:
    if protected:
        raise ConfigError(
            "an audit of records adds the vectors in the clear, since it looks at the noise of each silo; "
            "the secure sums give the same integers: leave --protected out"
        )
    config = load_record_run(path, {} if steps is None else {"steps": steps})
    if config.records.max_units is not None:
        check_canaries(canaries, config.records.max_units)
    job = record_job(config)
    with contextlib.ExitStack() as shown:
        progress = _bar(console)
        task = progress.add_task("steps with canaries", total=config.steps)
        return audit_records(
            job.model,
            job.silos,
            job.plan,
            canaries=canaries,
            confidence=confidence,
            on_start=lambda: shown.enter_context(progress),
            on_step=lambda _: progress.advance(task),
        )


def _write(path: Path, found: PlanAudit | RecordAudit) -> None:
    try:
        replace_file(path, (json.dumps(found.to_json(), indent=1) + "\n").encode())
    except (OSError, ValueError) as error:
        raise ReportError(f"cannot write {path}: {error}") from error
