"""The broadcast model in fewer bytes: half floats, or integers with one scale for each output channel.

The server keeps its model in full precision and quantises what it sends. A client trains from the model that
it received, so its update is relative to that model. Each model has only one valid encoding: a client encodes
again what it read, and refuses the message if the bytes differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from fedavg.errors import LocalProtocolError, NonFiniteError, PlanError
from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.models.layout import Layout

__all__ = ["FORMATS", "BroadcastFormat", "ModelCodec"]

BroadcastFormat: TypeAlias = Literal["float32", "float16", "int8", "int4"]
FORMATS: tuple[BroadcastFormat, ...] = ("float32", "float16", "int8", "int4")

_LEVELS = {"int8": 127, "int4": 7}
_LEAST_SCALE = (
    2.0**-100
)  # below this a scale may lose bits as a subnormal; such channels are sent as zeros
_LARGEST_SCALE = 2.0**100


@dataclass(frozen=True, slots=True)
class ModelCodec:
    """Converts a model's vector to bytes of one format, and back.

    "float32" and "float16" are little endian.  "int8" and "int4" are symmetric. The scales come first: one
    float32 for each output channel (first axis) of a tensor with two axes or more, and one for each other
    tensor. Then come the integers in two's complement; "int4" has two in a byte, the first in the low half.

    Args:
        kind: one of `FORMATS`.
        layout: layout of the vector.

    Raises:
        PlanError: there is no such format.

    Example:
        >>> from fedavg.models.layout import Layout
        >>> codec = ModelCodec("int4", Layout(("w",), ((2, 3),)))
        >>> data = codec.encode(np.array([7.0, 1.2, -7.0, 0.0, 0.07, 0.031]))
        >>> len(data), codec.decode(data).round(3).tolist()
        (11, [7.0, 1.0, -7.0, 0.0, 0.07, 0.03])
    """

    kind: BroadcastFormat
    layout: Layout

    def __post_init__(self) -> None:
        if self.kind not in FORMATS:
            raise PlanError(f"there is no broadcast {self.kind!r}; {offered(self.kind, FORMATS)}")

    @property
    def size(self) -> int:
        """Number of bytes of one model."""
        length = self.layout.size
        if self.kind == "float32":
            return 4 * length
        if self.kind == "float16":
            return 2 * length
        packed = length if self.kind == "int8" else (length + 1) // 2
        return 4 * len(self._channels()) + packed

    def encode(self, vector: NDArray[np.float64]) -> bytes:
        """Encode a model.  Run by the server.

        Args:
            vector: float64[d], in full precision.

        Raises:
            NonFiniteError: the model holds NaN or infinity; "float32" allows them.
        """
        if self.kind == "float32":
            return vector.astype("<f4").tobytes()
        # Clients refuse such a model in these formats, so it is not sent to them.
        if not bool(np.isfinite(vector).all()):
            raise NonFiniteError("the global model holds NaN or infinity: lower the learning rate")
        if self.kind == "float16":
            largest = float(np.finfo(np.float16).max)
            # Half floats end at 65,504; beyond it a parameter would become infinite.
            return np.clip(vector, -largest, largest).astype("<f2").tobytes()
        levels, channels = _LEVELS[self.kind], self._channels()
        starts = np.cumsum(channels) - channels
        largest = np.maximum.reduceat(np.abs(vector), starts)
        scales = np.minimum(largest / levels, _LARGEST_SCALE).astype("<f4")
        scales[scales < _LEAST_SCALE] = 0.0
        # The division uses the scale as it is sent, in float32, so that encoder and decoder have one grid.
        each = np.repeat(scales.astype(np.float64), channels)
        units = np.divide(vector, each, out=np.zeros(vector.size), where=each > 0)
        integers = np.clip(np.rint(units), -levels, levels).astype(np.int8)
        return scales.tobytes() + self._pack(integers)

    def decode(self, data: bytes) -> NDArray[np.float64]:
        """Decode a model.  Run by the client.

        Returns:
            float64[d].

        Raises:
            LocalProtocolError: the bytes have another size, or are not in canonical form; "float32" bytes of
                the right size are always accepted.
        """
        if len(data) != self.size:
            raise LocalProtocolError(
                f"the server sent {len(data)} bytes, but the model's {self.layout.size} parameters take "
                f"{self.size} as {self.kind}"
            )
        with np.errstate(
            invalid="ignore", over="ignore"
        ):  # arbitrary bytes; the result is checked below
            vector = self._read(data)
        if self.kind == "float32":
            return vector
        # The vector is encoded again: of all bytes that decode to it, only one form is accepted.
        if not bool(np.isfinite(vector).all()) or self.encode(vector) != data:
            raise LocalProtocolError(f"the server sent a model that is no canonical {self.kind}")
        return vector

    def _read(self, data: bytes) -> NDArray[np.float64]:
        if self.kind in ("float32", "float16"):
            return np.frombuffer(data, "<f4" if self.kind == "float32" else "<f2").astype(
                np.float64
            )
        channels = self._channels()
        head = 4 * len(channels)
        scales = np.frombuffer(data[:head], "<f4").astype(np.float64)
        packed = np.frombuffer(data[head:], np.uint8)
        if self.kind == "int4":
            halves = np.stack((packed & 15, packed >> 4), axis=1).reshape(-1)[: self.layout.size]
            integers = (halves.astype(np.int8) ^ 8) - 8  # sign of the fourth bit
        else:
            integers = packed.view(np.int8)
        return integers * np.repeat(scales, channels)

    def _pack(self, integers: NDArray[np.int8]) -> bytes:
        if self.kind == "int8":
            return integers.tobytes()
        halves = np.zeros(integers.size + integers.size % 2, np.uint8)
        halves[: integers.size] = integers.view(np.uint8) & 15
        return (halves[0::2] | halves[1::2] << 4).tobytes()

    def _channels(self) -> NDArray[np.int64]:
        """Length of each run of parameters that share a scale."""
        runs: list[int] = []
        for shape in self.layout.shapes:
            # A matrix or kernel has one scale for each output channel, its first axis; a vector has one in
            # all.
            rows = shape[0] if len(shape) > 1 else 1
            each = math.prod(shape) // max(rows, 1)
            runs += [each] * rows if each else []
        return np.array(runs, dtype=np.int64)
