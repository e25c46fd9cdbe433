"""The content of summary.json: the settings of a run, its figures, and how it ended."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fedavg.protocol.result import figure_row

if TYPE_CHECKING:
    from fedavg.config.build import Job
    from fedavg.federation.federation import Federation
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.result import RoundResult

__all__ = ["summary_of_run"]


def summary_of_run(
    job: Job, resolution: ResolvedPlan, federation: Federation, last: RoundResult | None
) -> dict[str, Any]:
    """The state of a run, ready for JSON.

    Args:
        job: job of the run.
        resolution: the resolved plan.
        federation: federation in its current state.
        last: the last finished round.
    """
    plan = job.plan
    figures = () if last is None else last.figures
    sizes = resolution.spec(resolution.bounds.cap, resolution.digest)
    return {
        "task": job.task.description,
        "model": job.config.model.name,
        "parameters": job.parameters,
        "unsent": job.unsent,
        "clients": len(job.clients),
        "population": resolution.num_clients,
        "secure_sum": plan.secure_sum.kind,
        "hides_updates": plan.secure_sum.hides_updates,
        "received": plan.secure_sum.received(sizes),
        "local_optimizer": plan.local_training.optimizer,
        "loss": (plan.local_training.loss or job.task.train.kind.loss).kind,
        "device": job.compute.device,
        "precision": job.compute.precision,
        "stages": [stage.kind for stage in plan.stages],
        "threat_model": plan.secure_sum.threat_model,
        "noise": "none" if plan.noise is None else plan.noise.kind,
        "noise_multiplier": resolution.noise_multiplier,
        "noise_multiplier_added": resolution.noise_multiplier_added,
        "sampling_rate": resolution.expected_cohort / resolution.num_clients,
        "expected_cohort": resolution.expected_cohort,
        "clip": plan.encoding.clip,
        "bits": plan.encoding.bits,
        "sent_fraction": resolution.update_length / resolution.vector_length,
        "broadcast": plan.broadcast,
        "rounds": 0 if last is None else last.round,
        "rounds_planned": job.config.rounds,
        "figures": [figure_row(figure) for figure in figures],
        "accuracy": None if last is None else last.accuracy,
        "accuracy_as_sent": None if last is None else last.accuracy_as_sent,
        "baseline_accuracy": None,
        "unprotected": None,
        "best_round": None,
        "epsilon_release": None if last is None else last.epsilon_release,
        "epsilon_server": None if last is None else last.epsilon_server,
        "delta": plan.budget.delta,
        "stopped": federation.stopped,
        "why": None,
        "skipped": [],
        "unscored": None,
        "personalization": None,
        "fairness": None,
        "chosen": [asdict(chosen) for chosen in job.chosen],
        "assumptions": list(plan.secure_sum.assumptions(sizes)),
        "blocks": None if plan.blocks is None else list(plan.blocks.lengths),
        "wrap_probability": resolution.wrap_probability,
        "seconds": 0.0,
    }
