"""Typical pieces of work, one for each constant: made once, and then called at every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.training.job import TrainingJob

__all__ = [
    "admission",
    "encoding",
    "evaluation",
    "jobs",
    "masks",
    "noise",
    "packing",
    "shares",
    "training",
]

_BITS = 26  # of a thousand clients' 16-bit values
_NEIGHBOURS = 12


def masks(size: int) -> Callable[[], object]:
    """A client's masks with twelve neighbours."""
    from secagg.crypto.masks import add_masks  # noqa: PLC0415 - a run loads what it measures

    total = np.zeros(size, np.uint32)
    seeds = [bytes([place]) * 16 for place in range(_NEIGHBOURS + 1)]
    return lambda: add_masks(total, seeds)


def packing(size: int) -> Callable[[], object]:
    """A vector on its way to the wire, and from it into a sum."""
    from secagg.crypto.ring import Unpacker, add_packed, pack_in_place  # noqa: PLC0415 - as above

    words = np.random.default_rng(0).integers(0, 1 << _BITS, size, dtype=np.uint32)
    total, room = np.zeros_like(words), np.empty_like(words)

    def there_and_back() -> None:
        np.copyto(room, words)
        packed = pack_in_place(room, _BITS)
        # The block's size is read where an unpacker is made.
        add_packed(total, [packed], _BITS, Unpacker(size, _BITS))  # type: ignore[list-item]

    return there_and_back


def admission(size: int) -> Callable[[], object]:
    """A client takes its input."""
    from secagg import Params  # noqa: PLC0415 - as above
    from secagg.roles.client.masking import admit_input  # noqa: PLC0415 - as above

    params = Params.for_cohort(30, size, max_abs=(1 << 15) - 1)
    vector = np.random.default_rng(0).integers(-(1 << 15) + 1, 1 << 15, size)
    return lambda: admit_input(vector, params)


def shares(size: int) -> Callable[[], object]:
    """The holders of a large cohort rebuild a secret, whose weights are computed anew."""
    from secagg.crypto import shamir  # noqa: PLC0415 - as above

    points = list(range(1, max(3, size // 1000) + 1))
    dealt = shamir.deal([bytes(32)], points, len(points))
    given = [row[0].tobytes() for row in dealt]

    def rebuilt() -> None:
        # A cohort has new points in each session, so no weights are remembered.
        shamir._weights_at_zero.cache_clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        shamir.rebuild(points, given)

    return rebuilt


def encoding(size: int) -> Callable[[], object]:
    """An update is rounded for a sum with noise."""
    from fedavg import FixedPoint  # noqa: PLC0415 - as above

    vector = np.random.default_rng(0).normal(size=size)
    vector /= 1.001 * np.linalg.norm(vector)
    encoded = FixedPoint(1.0, 16)
    return lambda: encoded.encode(vector)


def noise(size: int) -> Callable[[], object]:
    """A client's share of noise."""
    from dp import sample_discrete_gaussian  # noqa: PLC0415 - as above

    return lambda: sample_discrete_gaussian(40.0, size)


def training(size: int) -> Callable[[], object]:
    """A client's epoch on the 2NN."""
    from fedavg.training.loop import local_update  # noqa: PLC0415 - as above

    (job,) = jobs("2nn", 784, max(20, min(600, size // 1000)), 1)
    return lambda: local_update(job)


def evaluation(size: int) -> Callable[[], object]:
    """The 2NN is scored."""
    from fedavg.training.evaluation import evaluate  # noqa: PLC0415 - as above

    (job,) = jobs("2nn", 784, max(20, size // 200), 1)
    return lambda: evaluate(job.model, job.layout, job.start, job.dataset)


def jobs(model: str, inputs: int, examples: int, clients: int) -> list[TrainingJob]:
    """Clients with random examples of ten classes, and one model."""
    from fedavg import Dataset, LocalTraining, ModelSpec  # noqa: PLC0415 - as above
    from fedavg.models.layout import Layout  # noqa: PLC0415 - as above
    from fedavg.training.job import TrainingJob  # noqa: PLC0415 - as above

    built = ModelSpec(model, (inputs,), 10).build()
    layout, rng = Layout.of(built), np.random.default_rng(0)
    start, steps = layout.flatten(built), LocalTraining(batch_size=10, lr=0.01)
    data = [
        Dataset(rng.random((examples, inputs), dtype=np.float32), rng.integers(0, 10, examples))
        for _ in range(clients)
    ]
    return [
        TrainingJob(built, layout, start, own, steps, round_index=1, num_rounds=1, seed=client)
        for client, own in enumerate(data)
    ]
