"""Rounds until the 2NN names 97 % of MNIST's test images rightly, beside McMahan et al. 2017, Table 2.

`python -m benchmarks convergence --data mnist.npz`: 100 clients of 600 images, 10 a round, one local epoch
in batches of 10. Without a data file, 5,000 images that an installed package ships, and a target of
their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.kit.measure import Curve, Measure, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.kit.bench import Bench
    from fedavg import Dataset

__all__ = ["CASES", "Case", "divide", "rounds_to", "run", "small"]


@dataclass(frozen=True, slots=True)
class Case:
    """One division of the images among clients.

    Args:
        key: for programs.
        split: "iid" deals at random; "shards" sorts by label and gives each client two pieces.
        lr: of local SGD; they tuned theirs.
        published: rounds in their table.
        most: rounds after which we give up.
    """

    key: str
    split: Literal["iid", "shards"]
    lr: float
    published: int
    most: int


CASES = (Case("iid", "iid", 0.1, 87, 200), Case("shards", "shards", 0.1, 664, 1000))
_TARGET = 0.97
_SMALL_TARGET, _SMALL_LR, _SMALL_MOST = 0.90, 0.1, 60
"""For 4,000 training images in place of 60,000; no paper has these."""


def divide(
    labels: NDArray[np.int64], clients: int, split: Literal["iid", "shards"]
) -> list[NDArray[np.int64]]:
    """Indices of each client's images.

    Example:
        >>> [sorted(part.tolist()) for part in divide(np.array([0, 1, 0, 1]), 1, "shards")]
        [[0, 1, 2, 3]]
    """
    rng = np.random.default_rng(0)
    if split == "iid":
        return np.array_split(rng.permutation(len(labels)), clients)
    pieces = np.array_split(np.argsort(labels, kind="stable"), 2 * clients)
    dealt = rng.permutation(2 * clients)
    return [
        np.concatenate([pieces[a], pieces[b]]) for a, b in zip(dealt[::2], dealt[1::2], strict=True)
    ]


def rounds_to(
    target: float,
    train: Dataset,
    test: Dataset,
    parts: Sequence[NDArray[np.int64]],
    *,
    lr: float,
    most: int,
    workers: int,
    tick: Callable[[], None] = lambda: None,
) -> tuple[int | None, list[float]]:
    """Train until the target is met.

    Returns:
        The first round that meets it, or None; and the accuracy after every round.
    """
    from fedavg import (  # noqa: PLC0415 - the command sets the environment
        FedAvg,
        Federation,
        FixedCohort,
        FixedPoint,
        InsecurePlain,
        LocalTraining,
        ModelSpec,
        Plan,
    )

    plan = Plan(
        cohort=FixedCohort(max(1, len(parts) // 10)),
        encoding=FixedPoint(8.0, 24, rounding="nearest"),
        noise=None,
        secure_sum=InsecurePlain(),
        local_training=LocalTraining(batch_size=10, lr=lr),
        server_optimizer=FedAvg(),
    )
    federation = Federation(
        ModelSpec("2nn", (784,), 10),
        {client: train.subset(part) for client, part in enumerate(parts)},
        plan,
        evaluate=test,
        workers=workers,
    )
    reached: list[float] = []
    rounds = federation.run(most)
    for result in rounds:
        reached.append(result.accuracy or 0.0)
        tick()
        if reached[-1] >= target:
            rounds.close()
            return result.round, reached
    return None, reached


def run(bench: Bench, data: str | None = None, workers: int | None = None) -> None:
    """Count rounds; with a data file as the paper did, else on the small images."""
    cores = len(os.sched_getaffinity(0)) if workers is None else workers
    if data is None:
        _small(bench, cores)
        return
    from benchmarks.kit.images import read_images  # noqa: PLC0415 - as above
    from fedavg import Dataset  # noqa: PLC0415 - as above

    train, test = (Dataset(*read_images(data, part)) for part in ("train", "test"))
    rows: list[tuple[object, ...]] = []
    for case in CASES:
        parts = divide(train.labels, 100, case.split)
        with bench.progress(f"{case.key}, to {_TARGET:.0%}", case.most) as tick:
            needed, reached = rounds_to(
                _TARGET,
                train,
                test,
                parts,
                lr=case.lr,
                most=case.most,
                workers=cores,
                tick=tick,
            )
        _tell(bench, case, needed, reached)
        rows.append((case.key, needed or f"not in {case.most}", case.published, max(reached)))
    columns = ("division", "rounds", "published", "best accuracy")
    bench.add(Table("rounds", f"rounds to {_TARGET:.0%} of MNIST, 2NN", columns, rows))


def _tell(bench: Bench, case: Case, needed: int | None, reached: Sequence[float]) -> None:
    name = f"rounds to {_TARGET:.0%}, {case.split}, C = 0.1, B = 10, E = 1"
    bar = bench.bar(case.published, of="ours", at_most=True)
    note = f"learning rate {case.lr:g}; theirs are tuned, and the published figure is theirs"
    rounds = float(needed or 10 * case.most)
    bench.add(Measure(case.key, name, "rounds", rounds, float(case.published), bar=bar, note=note))
    bench.add(_curve(case.key, f"errors on the test images, {case.split}", reached))


def _curve(key: str, title: str, reached: Sequence[float]) -> Curve:
    points = [(float(r), max(1 - accuracy, 1e-4)) for r, accuracy in enumerate(reached, start=1)]
    return Curve(f"{key}_errors", title, "round", "share of errors", {"ours": points})


def _small(bench: Bench, workers: int) -> None:
    needed, reached = small(workers)
    name = f"rounds to {_SMALL_TARGET:.0%} of the 5,000 images, iid"
    rounds = float(needed or 10 * _SMALL_MOST)
    bar = bench.bar(_SMALL_MOST, of="ours", at_most=True)
    bench.add(Measure("small", name, "rounds", rounds, bar=bar), _curve("small", name, reached))


def small(workers: int) -> tuple[int | None, list[float]]:
    """4,000 images to train on and 1,000 to score, 20 clients, 2 a round."""
    from fedavg import load_task  # noqa: PLC0415 - as above

    task = load_task("mnist-5k")
    parts = divide(task.train.labels, 20, "iid")
    return rounds_to(
        _SMALL_TARGET, task.train, task.test, parts, lr=_SMALL_LR, most=_SMALL_MOST, workers=workers
    )
