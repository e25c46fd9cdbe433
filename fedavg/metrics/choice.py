"""Conversion of an argument to a metric: from a value, a name, an import path, or a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from fedavg.errors import ConfigError, MissingExtraError
from fedavg.metrics import classification, regression
from fedavg.metrics.foreign import (
    FunctionMetric,
    ImportedMetric,
    ScikitLearnMetric,
    StatefulMetric,
    says_greater,
)
from fedavg.metrics.interface import scikit_learn
from fedavg.parts import named, names
from fedavg.parts.nearest import offered
from fedavg.parts.tables import part_of_table

if TYPE_CHECKING:
    from fedavg.metrics.interface import Metric
    from fedavg.parts import Part

__all__ = ["metric_of"]

OURS = (classification, regression)
"""The modules that register metrics."""


def metric_of(given: object) -> Metric:
    """Convert an argument to a metric.

    Args:
        given: a metric; the name of one of this package's metrics or of a scorer of scikit-learn, with "-" or
            "_"; a mapping with a `kind` and its fields, as in a configuration; an import path
            "package.module:function"; a function(labels, predicted), whose larger values are better unless
            its attribute `greater_is_better` is False; or a metric of torchmetrics.

    Raises:
        ConfigError: the argument is none of these; the message has the most similar name.

    Example:
        >>> metric_of("roc-auc").name, metric_of({"kind": "calibration_error", "bins": 5}).bins
        ('roc_auc', 5)
    """
    if isinstance(given, str):
        return ImportedMetric(given) if ":" in given else _by_name(given.replace("-", "_"))
    if isinstance(given, Mapping):
        return part_of_table("metric", given, "metrics")
    # Objects of any class with the members of a metric are one.
    if all(hasattr(given, member) for member in ("name", "of", "greater_is_better")):
        return cast("Metric", given)
    # torchmetrics is recognised by its methods, so that it need not be installed.
    if all(callable(getattr(given, member, None)) for member in ("reset", "update", "compute")):
        return StatefulMetric(cast("Any", given))
    if callable(given):
        return FunctionMetric(given, says_greater(given))
    raise ConfigError(
        f"a metric is a name, an import path, or a function of labels and predictions, not {given!r:.80}"
    )


def _needs_nothing(kind: type[Part]) -> bool:
    return not any(field.required for field in msgspec.structs.fields(kind))


def _by_name(name: str) -> Metric:
    # Metrics that need settings cannot be made from a name alone.
    simple = [known for known in names("metric") if _needs_nothing(named("metric", known))]
    if name in simple:
        return cast("Any", named("metric", name))()
    try:
        return ScikitLearnMetric(name)
    except (ConfigError, MissingExtraError) as error:
        raise ConfigError(
            f"{error}; {offered(name, simple, lead='ours are', also=_scorers(name))}"
        ) from error


def _scorers(name: str) -> tuple[str, ...]:
    """The names of scikit-learn's scorers; () if it is not installed."""
    try:
        return tuple(scikit_learn("metrics", name).get_scorer_names())
    except MissingExtraError:
        return ()
