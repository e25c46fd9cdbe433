"""A run in TensorBoard or MLflow: a callback is a function of a round's result.

Run: python examples/experiment_logging.py                  (needs: pip install tensorboard)
     python examples/experiment_logging.py mlflow           (needs: pip install mlflow)

Only what may be published is logged: the figures of released models, each beside its baseline, and epsilon.
Cohort sizes, bytes and seconds are not logged: that epsilon does not hold for an observer who sees them.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

import fedavg

if TYPE_CHECKING:
    from collections.abc import Callable


def publishable(result: fedavg.RoundResult) -> dict[str, float]:
    """What a round may tell everybody, by name."""
    found: dict[str, float | None] = {
        "loss": result.loss,
        "epsilon": result.epsilon_release,
    }
    for figure in result.figures:
        found[figure.name] = figure.value
        found[f"{figure.name} of {figure.baseline.rule}"] = figure.baseline.value
    return {
        name: value for name, value in found.items() if value is not None and math.isfinite(value)
    }


def to_tensorboard(writer: Any) -> Callable[[fedavg.RoundResult], None]:  # noqa: ANN401 - a SummaryWriter
    """A callback for `torch.utils.tensorboard.SummaryWriter`."""

    def log(result: fedavg.RoundResult) -> None:
        for name, value in publishable(result).items():
            writer.add_scalar(name, value, result.round)
        writer.flush()

    return log


def to_mlflow(log_metrics: Callable[..., object]) -> Callable[[fedavg.RoundResult], None]:
    """A callback for `mlflow.log_metrics`, whose names have no brackets or per cent signs."""

    def log(result: fedavg.RoundResult) -> None:
        log_metrics(publishable(result), step=result.round)

    return log


def chosen(library: str) -> Callable[[fedavg.RoundResult], None]:
    """The callback of a library, imported here so that the other need not be installed."""
    if library == "mlflow":
        import mlflow  # noqa: PLC0415 - optional

        return to_mlflow(mlflow.log_metrics)
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional

    return to_tensorboard(SummaryWriter("runs/tensorboard"))


def main(log: Callable[[fedavg.RoundResult], None], rounds: int = 10) -> fedavg.Results:
    """Train on forty clients under noise, and log every round."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((4000, 12)).astype(np.float32)
    labels = (features @ rng.standard_normal((12, 3))).argmax(1)
    data = fedavg.Dataset(features, labels)
    clients = [data.subset(np.arange(90 * k, 90 * k + 90)) for k in range(40)]
    held_out = data.subset(np.arange(3600, 4000))
    plan = fedavg.Plan(
        cohort=fedavg.PoissonCohort(rate=1.0),
        encoding=fedavg.FixedPoint(clip=1.0, bits=16),
        noise=fedavg.DistributedGaussian(noise_multiplier=2.0),
        secure_sum=fedavg.SecAgg(),
        local_training=fedavg.LocalTraining(epochs=2, lr=0.5),
        server_optimizer=fedavg.FedAvg(),
    )
    federation = fedavg.Federation(nn.Linear(12, 3), clients, plan, evaluate=held_out)
    results = fedavg.train(federation, rounds, callbacks=[log])
    print(
        f"{len(results)} rounds logged; {results[-1].figures[0].name} {results[-1].figures[0].words}"
    )
    return results


if __name__ == "__main__":
    main(chosen(sys.argv[1] if len(sys.argv) > 1 else "tensorboard"))
