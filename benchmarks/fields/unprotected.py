"""What is compared with: scikit-learn on pooled rows, the same model on pooled rows, and each silo alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.fields.ways import outputs_of
from fedavg.federation.federation import Federation
from fedavg.runs.scoring.baseline import unprotected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.fields.scores import Held, Metric
    from fedavg.config.build import Job
    from fedavg.data.dataset import Dataset

__all__ = ["alone", "linear", "pooled"]


def linear(job: Job) -> NDArray[np.float64]:
    """Predictions of scikit-learn's linear model, which is fitted to all silos' rows."""
    task = job.task
    scale = task.label_scale
    model = Ridge(1e-3) if scale else LogisticRegression(max_iter=2000)
    fitted = make_pipeline(StandardScaler(), model).fit(
        task.train.features, task.train.labels.reshape(-1)
    )
    if scale:
        return fitted.predict(task.test.features) * scale[0] + task.label_centre[0]
    return fitted.decision_function(task.test.features)


def pooled(job: Job, metric: Metric) -> NDArray[np.float64]:
    """Predictions of the same model, trained by one party as often over all silos' rows."""
    return _trained(job, job.task.train, metric)


def alone(job: Job, metric: Metric, held: Held) -> tuple[float, float]:
    """Means over silos that train alone: the score on all held-out rows, and on the silo's own."""
    scores: list[tuple[float, float]] = []
    for silo, data in job.clients.items():
        predicted = _trained(job, data, metric)
        scores.append((metric.score(held.labels, predicted), held.own(metric, predicted, silo)))
    means = np.nanmean(scores, axis=0)
    return float(means[0]), float(means[1])


def _trained(job: Job, data: Dataset, metric: Metric) -> NDArray[np.float64]:
    """One party's training with the federation's rounds, batches and learning rates."""
    plan = unprotected(job.plan, job.config.encoding.range)
    federation = Federation(job.model, {0: data}, plan, seed=job.config.seed)
    for _ in federation.run(job.config.rounds):
        pass
    return outputs_of(federation.model(), job.task, metric)
