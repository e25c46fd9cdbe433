"""Metrics of predictions, each beside that of a constant prediction.  No torch is loaded."""

from __future__ import annotations

from fedavg.metrics.choice import metric_of
from fedavg.metrics.interface import Baseline, Figure, Metric, Predictions
from fedavg.metrics.suite import CLASS_FIGURES, LABEL_FIGURES, NUMBER_FIGURES, Suite, figures

__all__ = [
    "CLASS_FIGURES",
    "LABEL_FIGURES",
    "NUMBER_FIGURES",
    "Baseline",
    "Figure",
    "Metric",
    "Predictions",
    "Suite",
    "figures",
    "metric_of",
]
