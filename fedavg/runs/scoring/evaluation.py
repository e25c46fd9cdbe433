"""The complete evaluation of a run's model: figures, curves and tables, in a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedavg.protocol.result import figure_row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedavg.config.build import Job
    from fedavg.federation.federation import Federation
    from fedavg.runs.files.directory import RunDirectory

__all__ = ["write_evaluation"]


def write_evaluation(
    job: Job,
    federation: Federation,
    directory: RunDirectory,
    vector: NDArray[np.float64] | None = None,
) -> None:
    """Write evaluation.json, readable by its owner only, since it depends on the held-out rows.

    Args:
        job: job of the run.
        federation: federation after its last round.
        directory: run directory.
        vector: float64[d], the model; None takes the released one.
    """
    scored, said = federation.evaluation(vector), federation.predictions(vector)
    if scored is None:
        return
    kind = job.task.test.kind
    row: dict[str, Any] = {
        "kind": kind.name,
        "rule": kind.suite.rule,
        "examples": scored.examples,
        "public": job.scoring.public_rows,
        "figures": [figure_row(figure) for figure in scored.figures],
    }
    if said is not None:
        row |= kind.suite.pictures(said, job.task.label_names)
    # Figures of private rows are not covered by epsilon, so only the owner may read them.
    directory.write_json("evaluation.json", row, mode=0o600)
