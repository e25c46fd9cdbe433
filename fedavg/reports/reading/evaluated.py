"""`evaluation.json` as typed values: figures, curves and tables of a model on held-out examples."""

from __future__ import annotations

import msgspec

from fedavg.metrics.interface import Figure

__all__ = ["Bin", "Curve", "Evaluation", "Label", "Output", "Residuals"]


class Curve(msgspec.Struct, frozen=True):
    """One class's or label's curves: pairs of x and y."""

    name: str
    share: float
    roc: tuple[list[float], list[float]]
    precision_recall: tuple[list[float], list[float]]


class Bin(msgspec.Struct, frozen=True):
    """Predictions of similar confidence."""

    confidence: float
    accuracy: float
    weight: float


class Residuals(msgspec.Struct, frozen=True):
    """A histogram of predicted minus true values."""

    edges: list[float]
    counts: list[int]


class Output(msgspec.Struct, frozen=True):
    """One predicted number."""

    name: str
    true: list[float]
    predicted: list[float]
    mean: float
    residuals: Residuals


class Label(msgspec.Struct, frozen=True):
    """One of several labels, at a probability of one half."""

    name: str
    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


class Evaluation(msgspec.Struct, frozen=True):
    """`evaluation.json`; its parts depend on what is predicted."""

    kind: str
    rule: str
    examples: int
    public: bool = False
    figures: tuple[Figure, ...] = ()
    names: tuple[str, ...] = ()
    confusion: tuple[tuple[float, ...], ...] = ()
    curves: tuple[Curve, ...] = ()
    reliability: tuple[Bin, ...] = ()
    outputs: tuple[Output, ...] = ()
    each: tuple[Label, ...] = ()
