"""Figures of each client's own rows before and after training: fairness, for runs without noise only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.algorithms.personal.scores import spread
from fedavg.metrics.interface import defined
from fedavg.training.evaluation import evaluate
from fedavg.training.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.config.build import Job
    from fedavg.data.dataset import Dataset
    from fedavg.federation.federation import Federation
    from fedavg.runs.files.directory import RunDirectory

__all__ = ["BeforeAfter", "write_fairness"]

FILE = "fairness.jsonl"


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """One client's figures, private to it.

    Args:
        client: id of the client.
        name: its value in the column of clients; "" where no column names the clients.
        examples: number of its rows.
        before, after: figure of the first and of the last model on these rows; None where it is not defined.
        figure: its name, one that is defined on any rows: "accuracy" for classes, "rmse" for numbers,
            "scaled_rmse" for several columns of them.
        greater_is_better, share: how to read it.
    """

    client: int
    examples: int
    before: float | None
    after: float | None
    figure: str
    greater_is_better: bool
    share: bool
    name: str = ""


def write_fairness(
    job: Job,
    federation: Federation,
    directory: RunDirectory,
    vector: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Write fairness.jsonl, readable by its owner only; its distribution over the clients for the summary.

    In a simulation one process holds the rows of all clients. The configuration refuses it under noise: each
    figure would be a release about one client that no budget counts.

    Args:
        job: job of the run.
        federation: federation after its last round.
        directory: run directory.
        vector: float64[d], the last model; None takes the released one.
    """
    # The first model follows from the public seed, or from the file that the run starts from.
    first = federation.layout.flatten(job.model.build())
    last = federation.released if vector is None else vector
    clients = sorted(job.clients.items())
    with one_thread():
        rows = [
            replace(_scored(job, federation, client, data, first, last), name=name)
            for (client, data), name in zip(clients, _names(job), strict=True)
        ]
    directory.write_private(FILE, [asdict(row) for row in rows])
    return {"fairness": _summary(rows)}


def _names(job: Job) -> tuple[str, ...]:
    """The clients' names in the order of their ids, where each client has exactly one owner's rows."""
    owners, names = job.task.owners, job.task.owner_names
    held = [len(data) for _, data in sorted(job.clients.items())]
    # Rows that were dealt anew belong to no owner, and their clients have numbers only.
    if owners is None or np.bincount(owners, minlength=len(names)).tolist() != held:
        return ("",) * len(held)
    return names or ("",) * len(held)


def _scored(
    job: Job,
    federation: Federation,
    client: int,
    data: Dataset,
    first: NDArray[np.float64],
    last: NDArray[np.float64],
) -> BeforeAfter:
    loss = job.plan.local_training.loss
    # The headline of a run, such as an AUC, need not be defined on the rows of one client.
    scoring = replace(job.scoring, metrics=(), headline=job.scoring.by_client(data), loss=loss)
    before, after = (
        evaluate(federation.model(), federation.layout, model, data, scoring).headline
        for model in (first, last)
    )
    return BeforeAfter(
        client,
        len(data),
        before.value,
        after.value,
        after.name,
        after.greater_is_better,
        after.share,
    )


def _summary(rows: list[BeforeAfter]) -> dict[str, Any]:
    like = rows[0]
    sign = 1 if like.greater_is_better else -1
    worst = -sign * float("inf")  # an undefined figure counts as the worst one
    pairs = [
        tuple(worst if value is None else value for value in (row.before, row.after))
        for row in rows
    ]
    return {
        "figure": like.figure,
        "share": like.share,
        "clients": len(rows),
        "before": spread([before for before, _ in pairs], greater_is_better=like.greater_is_better),
        "after": spread([after for _, after in pairs], greater_is_better=like.greater_is_better),
        "better": sum(sign * (after - before) > 0 for before, after in pairs if after != before),
        "worse": sum(sign * (after - before) < 0 for before, after in pairs if after != before),
        "gap": defined(max(after for _, after in pairs) - min(after for _, after in pairs)),
    }
