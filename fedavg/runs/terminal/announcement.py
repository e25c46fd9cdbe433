"""The text that a run prints before it begins: the task, its protection and its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from fedavg.parts import Trait, traits_of
from fedavg.reports.tables.schema import advice_lines, schema_table

if TYPE_CHECKING:
    from rich.console import Console

    from fedavg.config.build import Job
    from fedavg.federation.shared import SharedBudget
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["announce"]


def announce(
    job: Job, resolution: ResolvedPlan, shared: SharedBudget | None, console: Console
) -> None:
    """Print what is about to run, how it is protected, and what it costs.

    Raises:
        ConfigError: the shared budget has no room for a round.
    """
    plan = job.plan
    _announce_data(job, console)
    console.print(
        Text.assemble(
            (job.task.description, "bold"),
            f": {len(job.clients):,} clients, "
            f"{job.size}, cohorts of about {resolution.expected_cohort:.0f}, "
            f"{plan.secure_sum.kind} ({plan.secure_sum.threat_model})",
        ),
        highlight=False,
    )
    shortened = resolution.update_length < resolution.vector_length
    waits = any(Trait.RESIDUAL in traits_of(stage) for stage in plan.stages)
    if shortened or waits or plan.broadcast != "float32":
        console.print(
            f"{resolution.update_length:,} coordinates of {plan.encoding.bits} bits are sent a round"
            f"{', the others wait for a later one' if waits else ''}; "
            f"the model is broadcast as {plan.broadcast}",
            highlight=False,
        )
    if plan.noise is not None:
        console.print(
            f"{plan.noise.kind} noise, multiplier {plan.noise.noise_multiplier:.3f} claimed, "
            f"{resolution.noise_multiplier_added:.3f} added for drop-outs and colluders; "
            f"a client sends at most {resolution.max_participations} masked updates; epsilon is for one of "
            f"{resolution.num_clients:,} enrolled clients, a public number, that never answers",
            highlight=False,
        )
    if plan.blocks is not None:
        largest, whole = max(plan.blocks.lengths), job.parameters
        console.print(
            f"{plan.blocks.count} blocks side by side: a client trains and sends at most "
            f"{largest:,} of {whole:,} parameters ({largest / whole:.1%})",
            highlight=False,
        )
    if shared is not None:
        # A budget without room for one round is refused here, before the directory is made.
        fits, planned = shared.check(resolution), resolution.num_rounds
        room = "all rounds" if fits == planned else f"{fits} of {planned} rounds"
        console.print(f"{shared.status()} It has room for {room}.", highlight=False)
    for warning in resolution.warnings:
        console.print(Text.assemble(("Warning:", "yellow"), f" {warning}"), highlight=False)


def _announce_data(job: Job, console: Console) -> None:
    """Print what was found, chosen and lost when the data was read."""
    if job.proposal is not None:
        title = "The columns as this run reads them; correct them in its config.toml"
        console.print(schema_table(job.proposal, title))
        for line in advice_lines(job.proposal):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for chosen in job.chosen:
        console.print(str(chosen), markup=False, highlight=False, soft_wrap=True)
    for note in job.task.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
