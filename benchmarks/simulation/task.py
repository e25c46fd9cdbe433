"""One federated task for every contestant: MNIST's shape, 100 clients of 600 images, 10 of them a round.

McMahan et al. 2017, Table 2: one local epoch of plain SGD in batches of 10, on the 2NN (199,210 parameters)
or the CNN (1,663,370).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CLIP", "MULTIPLIER", "ModelName", "Protection", "Task"]

ModelName = Literal["2nn", "module", "cnn"]
Protection = Literal["none", "central-dp", "secagg", "secagg-skellam"]


@dataclass(frozen=True, slots=True)
class Task:
    """What a contestant is told.

    Args:
        data: an NPZ file of uint8 images: x_train, y_train, x_test, y_test.
        model: "module" is the 2NN as any user's module, of which our fast path knows nothing.
        rounds: how many there will be.
        protection: "central-dp" clips each update and adds noise at the server; the others are ours alone.
        clients: there are so many.
        each: images that a client has at most, dealt out at random.
        cohort: of each round.
        batch, lr: of local SGD.
        workers: processes, or a peer's cores.
    """

    data: str
    model: ModelName = "2nn"
    rounds: int = 10
    protection: Protection = "none"
    clients: int = 100
    each: int = 600
    cohort: int = 10
    batch: int = 10
    lr: float = 0.1
    workers: int = 2

    def to_json(self) -> str:
        """For a child's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        return cls(**json.loads(text))

    def shards(self, examples: int) -> list[NDArray[np.int64]]:
        """Indices of every client's images, the same for all contestants."""
        order = np.random.default_rng(0).permutation(examples)[: self.clients * self.each]
        return np.array_split(order, self.clients)


CLIP, MULTIPLIER = 1.0, 0.3
"""Of central DP, on both sides: what it costs does not depend on them."""
