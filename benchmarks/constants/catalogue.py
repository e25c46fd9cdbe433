"""Every constant whose value was found by measuring: where it stands, and what it trades.

No constant here changes a result, unless its entry says so; those that do are the same on every machine.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.constants import works

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

__all__ = ["CONSTANTS", "Constant"]


@dataclass(frozen=True, slots=True)
class Constant:
    """A tuned constant.

    Args:
        module, name: where it stands.
        trades: what a larger value saves, and what it costs.
        work: makes a typical piece of work of a number of coordinates; None where the time of a process says
            nothing about the value.
        derived: other names of the module that follow from the value.
    """

    module: str
    name: str
    trades: str
    work: Callable[[int], Callable[[], object]] | None = None
    derived: Mapping[str, Callable[[int], object]] = field(
        default_factory=dict[str, "Callable[[int], object]"]
    )

    @property
    def key(self) -> str:
        """Its place, for people and programs."""
        return f"{self.module}.{self.name}"

    @property
    def value(self) -> int:
        """The value that ships."""
        found: int = getattr(self._home, self.name)
        return found

    @property
    def _home(self) -> Any:  # noqa: ANN401 - a module
        return importlib.import_module(self.module)

    @contextlib.contextmanager
    def moved(self, value: int) -> Generator[None]:
        """Let the constant have another value, for the block alone."""
        home = self._home
        others = {name: follow(value) for name, follow in self.derived.items()}
        chosen: dict[str, object] = {self.name: value, **others}
        held = {name: getattr(home, name) for name in chosen}
        try:
            for name, one in chosen.items():
                setattr(home, name, one)
            yield
        finally:
            for name, one in held.items():
                setattr(home, name, one)


def _zeros(size: int) -> memoryview:
    return memoryview(bytes(size))


CONSTANTS = (
    Constant(
        "secagg.crypto.masks",
        "_CHUNK",
        "fewer calls of AES and NumPy; a chunk of the stream no longer fits the second-level cache",
        works.masks,
        {"_ZEROS": _zeros},
    ),
    Constant(
        "secagg.crypto.masks",
        "_WINDOW",
        "threads wait for each other less often; each core holds so many bytes more",
    ),
    Constant(
        "secagg.crypto.masks",
        "_SHORT",
        "one stream by CTR instead of two where the start of a stream counts; GCM is faster beyond",
    ),
    Constant(
        "secagg.crypto.ring",
        "_BLOCK",
        "fewer calls of NumPy; a block's four buffers no longer fit the cache",
        works.packing,
    ),
    Constant(
        "secagg.roles.client.masking",
        "_BAND",
        "fewer calls of NumPy; a band no longer fits the cache between its check and its copy",
        works.admission,
    ),
    Constant(
        "secagg.crypto.shamir",
        "_PAIRS",
        "fewer calls of NumPy; memory of the differences of points",
        works.shares,
    ),
    Constant(
        "secagg.roles.server.unmask",
        "SEEDS_AT_ONCE",
        "fewer windows over the sum; memory of so many started streams",
    ),
    Constant(
        "secagg.wire.codec",
        "CHUNK_SIZE",
        "fewer messages; memory of each. Part of the protocol, the same everywhere",
    ),
    Constant(
        "fedavg.encoding.fixed_point",
        "BAND",
        "fewer calls of NumPy; a band no longer fits the cache between its steps",
        works.encoding,
    ),
    Constant(
        "dp.noise",
        "_CHUNK",
        "fewer calls of AES and NumPy; words, guesses and results no longer fit the cache",
        works.noise,
    ),
    Constant(
        "dp.noise",
        "_ONE_TABLE",
        "one look-up a draw in place of two; a larger table to compute for each standard deviation",
    ),
    Constant(
        "fedavg.training.local.batches",
        "_GATHERED",
        "fewer copies of examples; they push the weights out of the cache",
        works.training,
    ),
    Constant(
        "fedavg.training.fast.stacked",
        "_LARGEST_MODEL",
        "larger models are trained in stacks. A client's rounding follows from it: the same everywhere; "
        "another table shows where stacks stop to pay on this machine",
    ),
    Constant(
        "fedavg.training.fast.stacked",
        "_STACK",
        "fewer stacks; one no longer fits the cache",
    ),
    Constant(
        "fedavg.training.fast.stacked",
        "_PRODUCT",
        "fewer calls of BLAS, which starts threads above it. Changes the rounding: the same everywhere",
    ),
    Constant(
        "fedavg.training.evaluation",
        "_EVALUATION_BATCH",
        "fewer passes; memory of the activations",
        works.evaluation,
    ),
    Constant(
        "fedavg.client.update",
        "_AT_ONCE",
        "more clients are trained together; memory of their updates",
    ),
    Constant(
        "fedavg.records.clipped.layers",
        "_FORMED",
        "fewer calls of BLAS; gradients no longer fit the cache. Changes the rounding: the same everywhere",
    ),
    Constant(
        "fedavg.records.clipped.layers",
        "_MOST",
        "as above, for small models",
    ),
    Constant(
        "fedavg.simulation.worker",
        "_BOARD",
        "workers wait less for a slow reader; memory of what is unread",
    ),
    Constant(
        "fedavg.simulation.shared_memory",
        "_INLINE",
        "fewer files without names; more bytes through the pipe, which copies them twice",
    ),
    Constant(
        "dp.composition.pld",
        "_MAX_POINTS",
        "narrower brackets of epsilon; time and memory of a transform. Changes results within the bracket",
    ),
    Constant(
        "dp.composition.pld",
        "_MANY_POINTS",
        "from here on, low frequencies may be the shorter way to the same bracket",
    ),
    Constant(
        "dp.composition.spectrum",
        "_MAX_POINTS",
        "wider windows by low frequencies; time and memory of a transform",
    ),
)
"""All of them, by package."""
